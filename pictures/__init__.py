"""Takes pictures of the pages: of all of them to look at, of some for docs/."""
