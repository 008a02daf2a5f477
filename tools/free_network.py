"""Print the first three numbers of loopback networks on which no lab is running, a line each, for CUTOVER_LAB_NETWORK.

The argument says how many; without it, one.
"""

import socket
import sys
from collections.abc import Iterator
from itertools import islice

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


def free_networks() -> Iterator[str]:
    """Look from 127.21.0 upwards: 127.20.0 is left to the lab that people use."""
    for number in range(21, 200):
        network = f"127.{number}.0"
        places = [(f"{network}.1", port) for port in INFRASTRUCTURE_PORTS]
        places += [(f"{network}.{host}", APP_PORT) for host in APP_HOSTS]
        if all(is_free(address, port) for address, port in places):
            yield network


def main() -> None:
    """Say as many as are asked for, or none."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    networks = list(islice(free_networks(), wanted))
    if len(networks) < wanted:
        sys.exit("No loopback network is free for a lab.")
    print("\n".join(networks))


if __name__ == "__main__":
    main()
