"""What training minimises: each returns a sum and a weight, and leaves dividing to the loop."""
