#define _GNU_SOURCE
#include "http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool http_read_head(const char *bytes, size_t length, struct http_head *head)
{
    static const char name[] = "\r\nContent-Length:";
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);

    if (!end)
        return false;
    *head = (struct http_head){.length = (size_t)(end - bytes) + 4};
    for (const char *at = bytes; at < end && !head->body_told; at++)
        if (*at == '\r' && !strncasecmp(at, name, sizeof name - 1)) {
            head->body_length = strtoull(at + sizeof name - 1, NULL, 10);
            head->body_told = true;
        }
    return true;
}
