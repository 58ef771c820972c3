#define _GNU_SOURCE
#include "handler.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "fault.h"
#include "http.h"
#include "memory.h"

#define EVENTS_AT_ONCE 64
#define READ_BYTES (64 * 1024)
#define HEAD_BYTES 256

/* Somebody who asks, on a connection that is kept. */
struct caller {
    int fd;
    struct bytes unread;
};

static struct bytes answers;

static void answer(const char *headers, const char *before, const char *body, size_t length, const char *after)
{
    char head[HEAD_BYTES];
    int head_length = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n", headers,
                               strlen(before) + length + strlen(after));

    bytes_append(&answers, head, (size_t)head_length);
    bytes_append(&answers, before, strlen(before));
    bytes_append(&answers, body, length);
    bytes_append(&answers, after, strlen(after));
}

/* Centrifugo's request is an object, our text its "data": a string in which there are no quotes. */
static void answer_call(const char *body, size_t length)
{
    static const char name[] = "\"data\":\"";
    const char *text = memmem(body, length, name, sizeof name - 1);
    const char *end = NULL;

    if (text) {
        text += sizeof name - 1;
        end = memchr(text, '"', length - (size_t)(text - body));
    }
    if (!end)
        fail("a call of the handler has no text: %.*s", (int)length, body);
    answer("Content-Type: application/json\r\n", "{\"result\":{\"data\":\"", text, (size_t)(end - text), "\"}}");
}

static void answer_request(const char *request, const struct http_head *head)
{
    const char *body = request + head->length;

    if (!strncmp(request, "OPTIONS ", 8))
        answer("WebHook-Allowed-Origin: *\r\n", "", "", 0, "");
    else if (strncmp(request, "POST ", 5) || !head->body_told)
        fail("the handler takes OPTIONS, and POST with a length, not %.*s", (int)strcspn(request, "\r"), request);
    else if (!strncmp(request + 5, "/rpc ", 5))
        answer_call(body, head->body_length);
    else
        answer("Content-Type: text/plain\r\n", "", body, head->body_length, "");
}

static bool send_answers(int fd)
{
    for (size_t sent = 0; sent < answers.length;) {
        ssize_t count = send(fd, answers.data + sent, answers.length - sent, MSG_NOSIGNAL);

        if (count < 0)
            return false;
        sent += (size_t)count;
    }
    answers.length = 0;
    return true;
}

/* Answer what has come. Returns whether the caller is still there. */
static bool serve(struct caller *caller)
{
    struct bytes *unread = &caller->unread;
    struct http_head head;
    size_t used = 0;
    ssize_t count = read(caller->fd, bytes_room(unread, READ_BYTES), READ_BYTES);

    if (count <= 0)
        return false;
    unread->length += (size_t)count;
    answers.length = 0;
    while (http_read_head(unread->data + used, unread->length - used, &head) &&
           head.length + head.body_length <= unread->length - used) {
        answer_request(unread->data + used, &head);
        used += head.length + head.body_length;
    }
    bytes_drop(unread, used);
    return send_answers(caller->fd);
}

static void watch(int epoll, int fd, struct caller *caller)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = caller};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        fail("epoll: %s", strerror(errno));
}

static void accept_caller(int epoll, int listener)
{
    int yes = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct caller *caller = allocate(1, sizeof *caller);
    caller->fd = fd;
    watch(epoll, fd, caller);
}

static void leave(struct caller *caller)
{
    close(caller->fd);
    bytes_free(&caller->unread);
    free(caller);
}

static noreturn void serve_forever(int listener)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (epoll < 0)
        fail("epoll: %s", strerror(errno));
    watch(epoll, listener, NULL);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_AT_ONCE, -1);

        for (int i = 0; i < count; i++) {
            struct caller *caller = events[i].data.ptr;

            if (!caller)
                accept_caller(epoll, listener);
            else if (!serve(caller))
                leave(caller);
        }
    }
}

int handler_start(uint32_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    /* A connection of the run before may still hold the port for a while. */
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024))
        fail("listen at port %u for the handler: %s", port, strerror(errno));
    int child = child_start();
    if (child == 0)
        serve_forever(listener);
    close(listener);
    return child;
}
