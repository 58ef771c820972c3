#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fault.h"

void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);

    if (!memory)
        fail("no memory for %zu x %zu bytes", count, size);
    return memory;
}

void *allocate_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        fail("no memory for %zu shared bytes", size);
    return memory;
}

char *bytes_room(struct bytes *bytes, size_t count)
{
    if (bytes->capacity - bytes->length < count) {
        size_t capacity = bytes->capacity * 2;

        if (capacity < bytes->length + count)
            capacity = bytes->length + count;
        bytes->data = realloc(bytes->data, capacity);
        if (!bytes->data)
            fail("no memory for a buffer of %zu bytes", capacity);
        bytes->capacity = capacity;
    }
    return bytes->data + bytes->length;
}

void bytes_append(struct bytes *bytes, const void *data, size_t count)
{
    if (!count)
        return;
    memcpy(bytes_room(bytes, count), data, count);
    bytes->length += count;
}

void bytes_drop(struct bytes *bytes, size_t count)
{
    bytes->length -= count;
    if (count && bytes->length)
        memmove(bytes->data, bytes->data + count, bytes->length);
}

void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}
