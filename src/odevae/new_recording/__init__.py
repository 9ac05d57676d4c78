"""A lab's own recording: its configuration, written from what the file holds, and checked before anything runs."""
