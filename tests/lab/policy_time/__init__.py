"""What policies promise while things change: real packets, in a lab, in both modes."""
