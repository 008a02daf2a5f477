"""What the lab's modules share: plain functions over a state folder, sockets and /proc. Only the lab uses this."""
