"""Who may do what: permissions, the roles and scopes that bundle them, credentials kept in files, and the guard.

A route says which permission it asks for where it is declared (``allow=``); what says nothing is refused to everyone.
"""
