"""Print the first three numbers of a loopback network on which no lab is running, for CUTOVER_LAB_NETWORK."""

import socket
import sys

# The lab's infrastructure is at .1, its app hosts at .11 and .12: inventories/lab.
INFRASTRUCTURE_PORTS = (5432, 6379, 8200, 8201, 8404, 8443, 9000)
APP_HOSTS = (11, 12)
APP_PORT = 8000


def is_free(address: str, port: int) -> bool:
    """Tell whether a server could listen there."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((address, port))
        except OSError:
            return False
    return True


def main() -> None:
    """Look from 127.21.0 upwards: 127.20.0 is left to the lab that people use."""
    for number in range(21, 200):
        network = f"127.{number}.0"
        places = [(f"{network}.1", port) for port in INFRASTRUCTURE_PORTS]
        places += [(f"{network}.{host}", APP_PORT) for host in APP_HOSTS]
        if all(is_free(address, port) for address, port in places):
            print(network)
            return
    sys.exit("No loopback network is free for a lab.")


if __name__ == "__main__":
    main()
