"""What every frontend needs: the engine's contract, the answer of a call, one line of a log."""
