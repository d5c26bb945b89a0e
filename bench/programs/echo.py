"""The ceiling: what Python can answer at all. echo.py ADDRESS PORT"""

import socket
import sys

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], int(sys.argv[2])))
receive, send = sock.recvfrom, sock.sendto
while True:
    octets, source = receive(65535)
    send(octets, source)
