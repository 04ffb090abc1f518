/* UTF-8 (RFC 3629, section 4): a table-free check with a fast path for ASCII, which most names and keys are. */
#include <bailey/message.h>

static bool is_tail(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* The length of the sequence at `p`, or 0 if it is not well-formed. */
static size_t sequence_len(const uint8_t *p, size_t left)
{
    uint8_t lead = p[0];

    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return left >= 2 && is_tail(p[1]) ? 2 : 0;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (left < 3 || !is_tail(p[1]) || !is_tail(p[2]))
            return 0;
        if ((lead == 0xE0 && p[1] < 0xA0) || (lead == 0xED && p[1] > 0x9F)) /* overlong; surrogates */
            return 0;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (left < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]))
            return 0;
        if ((lead == 0xF0 && p[1] < 0x90) || (lead == 0xF4 && p[1] > 0x8F)) /* overlong; beyond U+10FFFF */
            return 0;
        return 4;
    }
    return 0;
}

bool bailey_utf8_valid(struct bailey_bytes bytes)
{
    const uint8_t *p = bytes.data;
    size_t left = bytes.len;

    while (left >= 8) {
        uint64_t word;

        memcpy(&word, p, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            break;
        p += 8;
        left -= 8;
    }
    while (left > 0) {
        size_t len = sequence_len(p, left);

        if (len == 0)
            return false;
        p += len;
        left -= len;
    }
    return true;
}
