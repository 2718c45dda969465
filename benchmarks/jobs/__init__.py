"""What is measured, one module for each kind: peers, what has to come out, and the jobs of both."""
