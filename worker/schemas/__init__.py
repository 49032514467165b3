"""What each vendor accepts, in marshmallow's terms: all that a producer needs of the vendors."""
