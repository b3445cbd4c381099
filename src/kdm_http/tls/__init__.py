"""Who may connect: certificates, the handshake, reloading."""
