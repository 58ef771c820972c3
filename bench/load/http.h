/* HTTP/1.1 as far as callers and the handler need it: messages of a length that is told, or without a body. */
#ifndef LOAD_HTTP_H
#define LOAD_HTTP_H

#include <stdbool.h>
#include <stddef.h>

struct http_head {
    /* Its first line and headers, with the empty line behind them. */
    size_t length;
    size_t body_length;
    /* There is a Content-Length. */
    bool body_told;
};

/* Read the head that a message begins with. Returns whether it has come whole; of the body nothing is said by that. */
bool http_read_head(const char *bytes, size_t length, struct http_head *head);

#endif
