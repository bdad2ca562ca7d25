"""The command line: a tour on bundled data, and the same for a table of your own."""
