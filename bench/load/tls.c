#include "tls.h"

#include "fault.h"

#ifdef WITH_TLS

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *context;

void tls_trust(const char *file)
{
    context = SSL_CTX_new(TLS_client_method());
    if (!context || !SSL_CTX_load_verify_locations(context, file, NULL))
        fail("--tls: '%s' is no PEM file of certificates", file);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    /* OpenSSL writes without saying that it wants no signal. */
    signal(SIGPIPE, SIG_IGN);
    /* Each handshake is a whole one. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

bool tls_on(void)
{
    return context != NULL;
}

struct tls *tls_begin(int fd)
{
    SSL *ssl = SSL_new(context);

    if (!ssl || !SSL_set_fd(ssl, fd))
        fail("OpenSSL has no memory for a connection");
    SSL_set_connect_state(ssl);
    return (struct tls *)ssl;
}

/* What a call that brought nothing means, as `read` would say it. */
static ssize_t nothing(SSL *ssl, int result)
{
    int why = SSL_get_error(ssl, result);
    int from_system = errno;

    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        errno = EAGAIN;
    else
        errno = why == SSL_ERROR_SYSCALL && from_system ? from_system : EPROTO;
    return -1;
}

static int limited(size_t length)
{
    return length > INT_MAX ? INT_MAX : (int)length;
}

ssize_t tls_read(struct tls *tls, void *bytes, size_t length)
{
    size_t total = 0;

    /* A record at a time; what is left in OpenSSL would not be told of by epoll. */
    while (total < length) {
        ERR_clear_error();
        int count = SSL_read((SSL *)tls, (char *)bytes + total, limited(length - total));

        if (count <= 0)
            return total ? (ssize_t)total : nothing((SSL *)tls, count);
        total += (size_t)count;
    }
    return (ssize_t)total;
}

ssize_t tls_send(struct tls *tls, const void *bytes, size_t length)
{
    ERR_clear_error();
    int count = SSL_write((SSL *)tls, bytes, limited(length));

    return count > 0 ? count : nothing((SSL *)tls, count);
}

bool tls_wants_to_read(const struct tls *tls)
{
    return SSL_want_read((const SSL *)tls);
}

bool tls_holds(const struct tls *tls)
{
    return SSL_has_pending((const SSL *)tls);
}

void tls_end(struct tls *tls)
{
    SSL_free((SSL *)tls);
}

#else

void tls_trust(const char *file)
{
    fail("--tls %s: this was compiled without OpenSSL", file);
}

bool tls_on(void)
{
    return false;
}

struct tls *tls_begin(int fd)
{
    (void)fd;
    return NULL;
}

ssize_t tls_read(struct tls *tls, void *bytes, size_t length)
{
    (void)tls, (void)bytes, (void)length;
    return -1;
}

ssize_t tls_send(struct tls *tls, const void *bytes, size_t length)
{
    (void)tls, (void)bytes, (void)length;
    return -1;
}

bool tls_wants_to_read(const struct tls *tls)
{
    (void)tls;
    return false;
}

bool tls_holds(const struct tls *tls)
{
    (void)tls;
    return false;
}

void tls_end(struct tls *tls)
{
    (void)tls;
}

#endif
