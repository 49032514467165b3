"""What each vendor's upload API is asked, and what its answers mean."""
