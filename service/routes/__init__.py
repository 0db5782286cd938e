"""The endpoints, a page each."""
