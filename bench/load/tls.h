/*
 * TLS for connections that do not wait, if OpenSSL was there when this was compiled (`-DWITH_TLS`, `-lssl -lcrypto`).
 *
 * The functions that read and send are like `read` and `send`, errors in `errno` included; the handshake happens in them.
 */
#ifndef LOAD_TLS_H
#define LOAD_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;

/* From now on every connection speaks TLS, and believes who is signed by the authorities in this PEM file. */
void tls_trust(const char *file);

/* Does it? */
bool tls_on(void);

struct tls *tls_begin(int fd);
ssize_t tls_read(struct tls *tls, void *bytes, size_t length);
ssize_t tls_send(struct tls *tls, const void *bytes, size_t length);
/* After one of these two brought EAGAIN: was it for want of something to read? */
bool tls_wants_to_read(const struct tls *tls);
/* Has the library more to give that it has read already, so that nobody else would tell of it? */
bool tls_holds(const struct tls *tls);
void tls_end(struct tls *tls);

#endif
