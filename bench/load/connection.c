#define _GNU_SOURCE
#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"

/* Events taken at once: few, so that a message that is due while all members read waits for a part of them only. */
#define EVENTS_AT_ONCE 64



/* Addresses that are used in turn; also for connections that come and go, whose ports rest for a while. */
#define ADDRESSES 32

/* Fits the second-level cache, where the kernel has just put the bytes, and holds most of what a socket does. */
#define READ_BYTES (256 * 1024)

uint64_t read_at_ns;

static int epoll = -1;
static char *read_buffer;
static size_t read_capacity;

/* What is done again and again, and when next. */
static struct {
    void (*what)(void);
    uint64_t interval_ns, due_ns;
} routine;

void target_find(struct target *target, const char *text)
{
    char host[256];
    struct addrinfo *found;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0;

    if (length == 0 || length >= sizeof host || colon[1] == '\0')
        fail("'%s' is not HOST:PORT", text);
    target->text = text;
    if (text[0] == '[' && text[length - 1] == ']') {
        text++;
        length -= 2;
    }
    memcpy(host, text, length);
    host[length] = '\0';

    int fault = getaddrinfo(host, colon + 1, &hints, &found);
    if (fault)
        fail("address %s: %s", text, gai_strerror(fault));
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->length = found->ai_addrlen;
    freeaddrinfo(found);
}

void loop_begin(size_t largest_bytes)
{
    if (epoll >= 0)
        close(epoll);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        fail("epoll: %s", strerror(errno));
    /* A frame must fit as a whole, and a server may put several messages into one: Centrifugo joins up to 16. */
    read_capacity = READ_BYTES > 32 * largest_bytes ? READ_BYTES : 32 * largest_bytes;
    free(read_buffer);
    read_buffer = allocate(read_capacity, 1);
}

static void watch(struct connection *connection, int operation)
{
    uint32_t wanted = 0;

    if (connection->reads)
        wanted |= EPOLLIN;
    /* What TLS cannot send before it has read more would only keep us busy. */
    bool held = connection->tls && tls_wants_to_read(connection->tls);
    if (connection->connecting || (connection->sent < connection->unsent.length && !held))
        wanted |= EPOLLOUT;
    if (operation == EPOLL_CTL_MOD && wanted == connection->interest)
        return;

    struct epoll_event event = {.events = wanted, .data.ptr = connection};
    connection->interest = wanted;
    if (epoll_ctl(epoll, operation, connection->fd, &event))
        fail("epoll: %s", strerror(errno));
}

void connection_close(struct connection *connection)
{
    if (!connection->open)
        return;
    if (connection->tls)
        tls_end(connection->tls);
    connection->tls = NULL;
    close(connection->fd);
    connection->fd = -1;
    connection->open = false;
    bytes_free(&connection->unread);
    bytes_free(&connection->unsent);
    connection->sent = 0;
}

static void end(struct connection *connection, const char *why)
{
    connection_close(connection);
    connection->events->ended(connection, why);
}

static void choose_source(int fd, const struct target *target, uint32_t ordinal)
{
    const struct sockaddr_in *peer = (const struct sockaddr_in *)&target->address;
    struct sockaddr_in source = {.sin_family = AF_INET};
    int yes = 1;

    if (peer->sin_family != AF_INET || ntohl(peer->sin_addr.s_addr) >> 24 != 127)
        return;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + ordinal % ADDRESSES);
    /* Else a port would be taken for all targets at once, here, and not only for this one. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&source, sizeof source))
        fail("bind to a loopback address: %s", strerror(errno));
}

void connection_open(struct connection *connection, const struct target *target, uint32_t ordinal,
                     const struct connection_events *events)
{
    int yes = 1;
    int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    choose_source(fd, target, ordinal);

    connection->fd = fd;
    connection->open = true;
    connection->connecting = true;
    connection->reads = true;
    connection->events = events;
    if (connect(fd, (const struct sockaddr *)&target->address, target->length) && errno != EINPROGRESS) {
        end(connection, strerror(errno));
        return;
    }
    watch(connection, EPOLL_CTL_ADD);
}

static ssize_t send_some(struct connection *connection, const void *bytes, size_t length)
{
    if (connection->tls)
        return tls_send(connection->tls, bytes, length);
    return send(connection->fd, bytes, length, MSG_NOSIGNAL);
}

static ssize_t read_some(struct connection *connection, void *bytes, size_t length)
{
    if (connection->tls)
        return tls_read(connection->tls, bytes, length);
    return read(connection->fd, bytes, length);
}

void connection_flush(struct connection *connection)
{
    struct bytes *unsent = &connection->unsent;

    if (!connection->open || connection->connecting)
        return;
    while (connection->sent < unsent->length) {
        ssize_t count = send_some(connection, unsent->data + connection->sent, unsent->length - connection->sent);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            break;
        if (count < 0)
            /* The reader learns the reason, and what the peer said before. */
            connection->sent = unsent->length;
        else
            connection->sent += (size_t)count;
    }
    if (connection->sent == unsent->length)
        unsent->length = connection->sent = 0;
    watch(connection, EPOLL_CTL_MOD);
}

void connection_stop_reading(struct connection *connection)
{
    int small = 4096;

    /* What this machine buffers for a reader that does not read is not what is to be tried. */
    setsockopt(connection->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    connection->reads = false;
    watch(connection, EPOLL_CTL_MOD);
}

void connection_finish(struct connection *connection)
{
    shutdown(connection->fd, SHUT_WR);
}

static void handle_connected(struct connection *connection)
{
    int fault = 0;
    socklen_t length = sizeof fault;

    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &fault, &length);
    if (fault) {
        end(connection, strerror(fault));
        return;
    }
    connection->connecting = false;
    if (tls_on())
        connection->tls = tls_begin(connection->fd);
    connection->events->opened(connection);
    connection_flush(connection);
}

static void keep_rest(struct connection *connection, const char *rest, size_t length)
{
    struct bytes *unread = &connection->unread;

    if (length == read_capacity)
        fail("a message from the server is larger than %zu bytes", read_capacity);
    unread->length = 0;
    bytes_append(unread, rest, length);
}

static void read_once(struct connection *connection)
{
    size_t kept = connection->unread.length;

    if (kept)
        memcpy(read_buffer, connection->unread.data, kept);
    ssize_t count = read_some(connection, read_buffer + kept, read_capacity - kept);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        /* With TLS what waits to be sent may have waited for this. */
        if (connection->tls)
            connection_flush(connection);
        return;
    }
    if (count <= 0) {
        end(connection, count ? strerror(errno) : "the server closed the connection");
        return;
    }
    read_at_ns = now_ns();

    size_t length = kept + (size_t)count;
    size_t used = connection->events->received(connection, read_buffer, length);
    if (!connection->open)
        return;
    keep_rest(connection, read_buffer + used, length - used);
    if (connection->sent < connection->unsent.length)
        connection_flush(connection);
}

static void handle_readable(struct connection *connection)
{
    /* What TLS has read and not given yet is no event of the socket. */
    do
        read_once(connection);
    while (connection->open && connection->reads && connection->tls && tls_holds(connection->tls));
}

void loop_every(uint64_t interval_ns, void (*what)(void))
{
    routine.what = what;
    routine.interval_ns = interval_ns;
    routine.due_ns = now_ns() + interval_ns;
}

/* Do what is due of it. Returns how long to wait for events before it is due again, at most `timeout_ns`. */
static uint64_t follow_routine(uint64_t timeout_ns)
{
    uint64_t now = now_ns();

    if (now >= routine.due_ns) {
        routine.what();
        routine.due_ns = now + routine.interval_ns;
    }
    return routine.due_ns - now < timeout_ns ? routine.due_ns - now : timeout_ns;
}

void loop_turn(uint64_t timeout_ns)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    struct timespec timeout = timespec_of(routine.what ? follow_routine(timeout_ns) : timeout_ns);
    int count = epoll_pwait2(epoll, events, EVENTS_AT_ONCE, &timeout, NULL);

    if (count < 0 && errno != EINTR)
        fail("epoll: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        uint32_t happened = events[i].events;

        /* An event before this one may have closed it. */
        if (!connection->open)
            continue;
        if (connection->connecting) {
            handle_connected(connection);
            continue;
        }
        if (happened & EPOLLOUT)
            connection_flush(connection);
        if (connection->reads && happened & (EPOLLIN | EPOLLHUP | EPOLLERR))
            handle_readable(connection);
        else if (happened & (EPOLLHUP | EPOLLERR))
            end(connection, "the server cut the connection");
    }
}

void loop_until(uint64_t end_ns)
{
    uint64_t now;

    while ((now = now_ns()) < end_ns)
        loop_turn(end_ns - now);
}
