"""What the app makes of whatever is sent to it: every form, parameter and header that there is, filled with harm."""
