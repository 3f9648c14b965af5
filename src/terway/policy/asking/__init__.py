"""What people ask of policies, off the data path: who reaches whom, what differs, what is odd."""
