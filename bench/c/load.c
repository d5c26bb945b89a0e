/* Asks a UDP responder and checks every reply. Built by bench/build.py; linux, one thread.
 *
 *   load ADDRESS PORT CORPUS SECONDS window N SEED dns|echo
 *   load ADDRESS PORT CORPUS SECONDS rate QPS SEED dns|echo
 *
 * `window` keeps at most N questions in flight and sleeps while none has been answered: what the responder can
 * do. `rate` sends at a fixed rate, spinning, and measures each reply from when its question was due: how long it
 * takes. Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32
#define LARGEST 4096
#define IDS 65536
#define GIVE_UP 200000000ull /* ns without any reply, after which those in flight count as lost */

/* One question of the corpus: its octets, where a fresh cookie goes (0: none), and what is right to answer. */
struct question {
	uint16_t length, cookie, end, ancount;
	uint8_t rcode, opt;
	const uint8_t *octets;
};

/* One id: which question is in flight under it, and since when. */
struct slot {
	uint32_t question; /* its number + 1; 0: free */
	uint64_t since;
	uint8_t cookie[8];
};

static struct question *questions;
static uint32_t question_count;
static struct slot slots[IDS];
static uint64_t sent, received, bad, lost, octets_in, random_state;
static uint32_t in_flight;
static uint32_t *latencies;
static size_t latency_count, latency_room;
static int echo, fd;

static uint64_t now(void) {
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000000000ull + at.tv_nsec;
}

static void die(const char *what) {
	perror(what);
	exit(1);
}

static uint64_t draw(void) { /* xorshift64* */
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 2685821657736338717ull;
}

static void read_corpus(const char *path) {
	FILE *file = fopen(path, "rb");
	if (!file) die(path);
	fseek(file, 0, SEEK_END);
	long size = ftell(file);
	rewind(file);
	uint8_t *all = malloc(size);
	if (size < 4 || fread(all, 1, size, file) != (size_t)size) die(path);
	fclose(file);
	memcpy(&question_count, all, 4);
	questions = calloc(question_count, sizeof *questions);
	const uint8_t *at = all + 4;
	for (uint32_t i = 0; i < question_count; i++) {
		memcpy(&questions[i], at, 10); /* the first six fields, as bench/corpus.py packs them */
		questions[i].octets = at + 10;
		at += 10 + questions[i].length;
	}
}

/* Writes one question to `octets`; its length. */
static size_t ask(uint8_t *octets, uint64_t since) {
	uint32_t number = (draw() >> 32) * (uint64_t)question_count >> 32;
	const struct question *question = &questions[number];
	uint16_t id;
	do id = draw() >> 48;
	while (slots[id].question);
	memcpy(octets, question->octets, question->length);
	octets[0] = id >> 8;
	octets[1] = id & 255;
	struct slot *slot = &slots[id];
	if (question->cookie) {
		uint64_t cookie = draw();
		memcpy(octets + question->cookie, &cookie, 8);
		memcpy(slot->cookie, &cookie, 8);
	}
	slot->question = number + 1;
	slot->since = since;
	in_flight++;
	sent++;
	return question->length;
}

static int right(const struct question *question, const struct slot *slot, const uint8_t *reply, size_t length) {
	if (echo) {
		size_t fixed = question->cookie ? question->cookie : question->length;
		if (length != question->length || memcmp(reply + 2, question->octets + 2, fixed - 2)) return 0;
		return !question->cookie || !memcmp(reply + question->cookie, slot->cookie, 8);
	}
	if (length < question->end) return 0;
	if ((reply[2] & 0xfa) != 0x80 && (reply[2] & 0xfa) != 0x82) return 0; /* QR, opcode 0; any AA, RD */
	if (reply[2] & 0x02) return 0; /* TC: nothing here is long */
	if ((reply[3] & 0x0f) != question->rcode) return 0;
	if (reply[4] || reply[5] != 1 || (reply[6] << 8 | reply[7]) != question->ancount) return 0;
	if (question->opt && !(reply[10] | reply[11])) return 0;
	return !memcmp(reply + 12, question->octets + 12, question->end - 12);
}

static void judge(const uint8_t *reply, size_t length, uint64_t at, int measure) {
	struct slot *slot = length < 12 ? NULL : &slots[reply[0] << 8 | reply[1]];
	if (!slot || !slot->question) {
		bad++;
		return;
	}
	if (right(&questions[slot->question - 1], slot, reply, length)) {
		received++;
		octets_in += length;
	} else {
		bad++;
	}
	if (measure && latency_count < latency_room) latencies[latency_count++] = at - slot->since;
	slot->question = 0;
	in_flight--;
}

static uint8_t out[BATCH][LARGEST], in[BATCH][LARGEST];
static struct iovec out_parts[BATCH], in_parts[BATCH];
static struct mmsghdr outgoing[BATCH], incoming[BATCH];

static void send_all(int count) {
	for (int done = 0; done < count;) {
		int n = sendmmsg(fd, outgoing + done, count - done, 0);
		if (n < 0 && errno == ECONNREFUSED) die("nobody answers there");
		if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) die("sendmmsg");
		if (n > 0) done += n;
	}
}

static int receive(int flags, int measure) {
	int n = recvmmsg(fd, incoming, BATCH, flags, NULL);
	if (n < 0 && errno == ECONNREFUSED) die("nobody answers there");
	if (n < 0) return 0;
	uint64_t at = now();
	for (int i = 0; i < n; i++) judge(in[i], incoming[i].msg_len, at, measure);
	return n;
}

static void lose_all(void) {
	for (int id = 0; id < IDS; id++) {
		lost += slots[id].question != 0;
		slots[id].question = 0;
	}
	in_flight = 0;
}

static void by_window(uint32_t window, uint64_t end) {
	for (uint64_t at = now(); at < end || in_flight; at = now()) {
		while (at < end && in_flight < window) {
			int n = 0;
			for (; n < BATCH && in_flight < window; n++) out_parts[n].iov_len = ask(out[n], at);
			send_all(n);
		}
		if (!receive(MSG_WAITFORONE, 1)) lose_all(); /* SO_RCVTIMEO has run out */
	}
}

static void by_rate(double rate, uint64_t begun, uint64_t end) {
	double step = 1e9 / rate, due = begun;
	uint64_t heard = begun;
	for (uint64_t at = begun; at < end || (in_flight && at < heard + GIVE_UP); at = now()) {
		int n = 0;
		for (; n < BATCH && due < end && due <= at && in_flight < IDS / 2; due += step)
			out_parts[n].iov_len = ask(out[n], (uint64_t)due), n++;
		if (n) send_all(n);
		if (receive(MSG_DONTWAIT, 1)) heard = at;
	}
	lose_all();
}

static int ascending(const void *a, const void *b) {
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static double micros(double part) {
	return latency_count ? latencies[(size_t)(part * (latency_count - 1))] / 1000.0 : 0;
}

int main(int argc, char **argv) {
	if (argc != 9) {
		fputs("see the head of load.c\n", stderr);
		return 2;
	}
	read_corpus(argv[3]);
	double seconds = atof(argv[4]), amount = atof(argv[6]);
	random_state = strtoull(argv[7], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
	echo = !strcmp(argv[8], "echo");
	latency_room = 1 << 22;
	latencies = malloc(latency_room * sizeof *latencies);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
	struct timeval patience = {.tv_usec = GIVE_UP / 1000};
	if (fd < 0 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 || connect(fd, (void *)&to, sizeof to)) die("connect");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	for (int i = 0; i < BATCH; i++) {
		out_parts[i] = (struct iovec){out[i], 0};
		in_parts[i] = (struct iovec){in[i], LARGEST};
		outgoing[i].msg_hdr = (struct msghdr){.msg_iov = &out_parts[i], .msg_iovlen = 1};
		incoming[i].msg_hdr = (struct msghdr){.msg_iov = &in_parts[i], .msg_iovlen = 1};
	}
	uint64_t begun = now(), end = begun + (uint64_t)(seconds * 1e9);
	if (!strcmp(argv[5], "rate")) by_rate(amount, begun, end);
	else by_window((uint32_t)amount, end);
	double took = (now() - begun) / 1e9;
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	double cpu = use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
	qsort(latencies, latency_count, sizeof *latencies, ascending);
	printf("{\"sent\": %lu, \"received\": %lu, \"bad\": %lu, \"lost\": %lu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, "
	       "\"mean_octets\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n",
	       sent, received, bad, lost, took, cpu, received ? (double)octets_in / received : 0.0, micros(.5), micros(.99),
	       micros(.999));
	return 0;
}
