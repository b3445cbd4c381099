"""kdm's edge as clients, scanners and attackers meet it: `kdm serve` as a process, mutual TLS over loopback."""
