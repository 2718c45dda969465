"""The gateway, between real sockets on the loopback interface."""
