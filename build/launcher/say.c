#define _GNU_SOURCE
#include "say.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "signals.h"

static void put(struct reason *why, bool damaged, const char *format, va_list given)
{
    int kept = errno;
    why->damaged = damaged;
    if (vsnprintf(why->text, sizeof why->text, format, given) < 0)
        why->text[0] = '\0';
    errno = kept;
}

void because(struct reason *why, const char *format, ...)
{
    va_list given;
    va_start(given, format);
    put(why, false, format, given);
    va_end(given);
}

void because_damaged(struct reason *why, const char *format, ...)
{
    va_list given;
    va_start(given, format);
    put(why, true, format, given);
    va_end(given);
}

void because_errno(struct reason *why, const char *what)
{
    because(why, "%s: %s", what, strerror(errno));
}

/* Length of the character of several bytes at `at`; 0 when it is none. */
static size_t sequence(const unsigned char *at)
{
    size_t length = at[0] >= 0xc2 && at[0] <= 0xdf ? 2 : (at[0] & 0xf0) == 0xe0 ? 3 : at[0] >= 0xf0 && at[0] <= 0xf4 ? 4 : 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    /* Decoders refuse what is longer than it need be, surrogates, and what lies beyond Unicode. */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0) || (at[0] == 0xf0 && at[1] < 0x90)
        || (at[0] == 0xf4 && at[1] >= 0x90))
        return 0;
    return length;
}

/* Length of the UTF-8 character at `at` that is safe to print; 0 when the byte must be escaped. */
static size_t harmless(const unsigned char *at)
{
    if (at[0] < 0x80)
        return at[0] >= 0x20 && at[0] != 0x7f && at[0] != '\\';
    size_t length = sequence(at);
    if (length == 2 && at[0] == 0xc2 && at[1] < 0xa0)
        return 0; /* the second set of control characters */
    return length;
}

bool is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        size_t length = at[0] < 0x80 ? 1 : sequence(at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

const char *printable(char *out, unsigned long size, const char *text)
{
    static const char DIGITS[] = "0123456789abcdef";
    const unsigned char *at = (const unsigned char *)text;
    size_t used = 0;
    while (*at) {
        size_t plain = harmless(at), needed = plain ? plain : 4;
        if (used + needed + 4 > size) { /* room for the dots and the end stays */
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        if (plain) {
            memcpy(out + used, at, plain);
            at += plain;
        } else {
            const char escaped[4] = {'\\', 'x', DIGITS[*at >> 4], DIGITS[*at & 15]};
            memcpy(out + used, escaped, sizeof escaped);
            at++;
        }
        used += needed;
    }
    out[used] = '\0';
    return out;
}

/* A reader of standard error who is gone must not end us by SIGPIPE: the program that we start may not need him. */
static void write_stderr(const char *text, size_t length)
{
    struct held pipe;
    signals_hold(&pipe, SIGPIPE);
    if (pipe.number == 0)
        return;
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break; /* closed, full or gone: there is nobody else to tell */
        text += written;
        length -= (size_t)written;
    }
    signals_release(&pipe);
}

void say(const char *format, ...)
{
    char text[16384];
    int kept = errno;
    va_list given;
    va_start(given, format);
    int length = vsnprintf(text, sizeof text, format, given);
    va_end(given);
    if (length > 0)
        write_stderr(text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
    errno = kept;
}
