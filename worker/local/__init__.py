"""The whole system on one machine, in the foreground of one terminal."""
