/* Many peers in one process: each address answers every datagram with octets given beforehand. Linux.
 *
 *   peers PORT FILE
 *
 * FILE, as bench/peers.py packs it: a count, then for each peer its IPv4 address, the length of its answer
 * (0: silent) and the answer. A reply is the question's id and the answer's octets after it. Says "ready"; a line
 * on stdin is replied to with the datagrams received and answered so far; at the end of stdin it ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LARGEST 65536

struct peer {
	int fd;
	uint32_t address;
	uint16_t length;
	const uint8_t *answer;
};

static int poll_fd;
static uint64_t received, answered;

static void die(const char *what) {
	perror(what);
	exit(1);
}

static void watch(int fd, struct peer *peer) {
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
	if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

static void stand(struct peer *peer, uint16_t port) {
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = peer->address};
	peer->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (peer->fd < 0) die("socket");
	if (bind(peer->fd, (void *)&here, sizeof here)) die("bind");
	watch(peer->fd, peer);
}

static void answer(const struct peer *peer) {
	static uint8_t octets[LARGEST];
	struct sockaddr_in from;
	socklen_t size = sizeof from;
	ssize_t n = recvfrom(peer->fd, octets, sizeof octets, 0, (void *)&from, &size);
	if (n < 2) return;
	received++;
	if (!peer->length) return;
	memcpy(octets + 2, peer->answer + 2, peer->length - 2);
	if (sendto(peer->fd, octets, peer->length, 0, (void *)&from, size) == peer->length) answered++;
}

int main(int argc, char **argv) {
	FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;
	if (!file) die("usage: peers PORT FILE");
	fseek(file, 0, SEEK_END);
	long size = ftell(file);
	rewind(file);
	uint8_t *all = malloc(size);
	if (size < 4 || fread(all, 1, size, file) != (size_t)size) die(argv[2]);
	uint32_t count;
	memcpy(&count, all, 4);
	struct peer *peers = calloc(count, sizeof *peers);
	poll_fd = epoll_create1(0);
	const uint8_t *at = all + 4;
	for (uint32_t i = 0; i < count; i++) {
		struct peer *peer = &peers[i];
		memcpy(&peer->address, at, 4);
		memcpy(&peer->length, at + 4, 2);
		peer->answer = at + 6;
		at = peer->answer + peer->length;
		stand(peer, atoi(argv[1]));
	}
	watch(0, NULL);
	puts("ready");
	fflush(stdout);
	struct epoll_event events[64];
	for (;;) {
		int n = epoll_wait(poll_fd, events, 64, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr) {
				answer(events[i].data.ptr);
				continue;
			}
			char line[64];
			if (read(0, line, sizeof line) <= 0) return 0;
			printf("%lu %lu\n", received, answered);
			fflush(stdout);
		}
	}
}
