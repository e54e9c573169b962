"""What the tests stand on: real processes, their endpoints, fakes, and pictures drawn from the portrait."""
