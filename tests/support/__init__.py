"""What the tests stand on: real processes and their doors, fakes, and pictures drawn from the portrait."""
