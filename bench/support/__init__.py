"""What the benches are made of and compared with: floors, vendors on this machine, thin clients, meters. No benches."""
