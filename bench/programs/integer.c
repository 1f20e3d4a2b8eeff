/* Integer work: quicksort, a hash table, LZ compression, a bytecode interpreter, a Dhrystone-like mix. */
#include "bench.h"

#include <string.h>

/* ---- sort: quicksort of random 32-bit keys ---- */
enum { kKeys = 200000 };
static uint32_t* keys;

static void sort_setup(void) { keys = touched(kKeys * sizeof *keys); }

static void insertion_sort(uint32_t* first, uint32_t* last) {
    for (uint32_t* i = first + 1; i <= last; i++) {
        const uint32_t key = *i;
        uint32_t* j = i;
        for (; j > first && j[-1] > key; j--) *j = j[-1];
        *j = key;
    }
}

static void quicksort(uint32_t* first, uint32_t* last) {
    while (last - first > 12) {
        const uint32_t pivot = first[(last - first) / 2];
        uint32_t *i = first, *j = last;
        while (i <= j) {
            while (*i < pivot) i++;
            while (*j > pivot) j--;
            if (i > j) break;
            const uint32_t swapped = *i;
            *i++ = *j;
            *j-- = swapped;
        }
        quicksort(first, j);
        first = i;
    }
    insertion_sort(first, last);
}

static uint64_t sort_round(void) {
    uint64_t state = 42;
    for (int i = 0; i < kKeys; i++) keys[i] = (uint32_t)(next_random(&state) >> 32);
    quicksort(keys, keys + kKeys - 1);
    uint64_t unsorted = 0;
    for (int i = 1; i < kKeys; i++) unsorted += keys[i - 1] > keys[i];
    return mix_bytes(unsorted, keys, kKeys * sizeof *keys);
}

/* ---- hash: insert into and probe an open-addressed table ---- */
enum { kSlots = 1 << 17, kEntries = kSlots * 5 / 8, kProbes = 500000 };
static struct slot { uint64_t key, value; } *slots;

static void hash_setup(void) { slots = touched(kSlots * sizeof *slots); }

static struct slot* slot_of(uint64_t key) {
    uint64_t at = mix(0, key) & (kSlots - 1);
    while (slots[at].key && slots[at].key != key) at = (at + 1) & (kSlots - 1);
    return &slots[at];
}

static uint64_t hash_round(void) {
    memset(slots, 0, kSlots * sizeof *slots);
    uint64_t state = 7, sum = 0;
    for (uint64_t i = 0; i < kEntries; i++) {
        struct slot* s = slot_of((next_random(&state) & 0xfffff) + 1);
        s->value += i;
        sum += s->key == 0;
        s->key = s->key ? s->key : (state * 0x2545f4914f6cdd1du & 0xfffff) + 1;
    }
    for (uint64_t i = 0; i < kProbes; i++) sum = mix(sum, slot_of(i * 3 + 1)->value);
    return sum;
}

/* ---- compress: an LZ77 with hash heads, and its inverse ---- */
enum { kText = 512 * 1024, kHeads = 1 << 14, kMinMatch = 4, kMaxMatch = 67 };
static unsigned char *text, *packed, *unpacked;
static int* heads;

static void compress_setup(void) {
    text = touched(kText);
    packed = touched(kText * 9 / 8 + 64);
    unpacked = touched(kText + kMaxMatch);
    heads = touched(kHeads * sizeof *heads);
    fill_text(text, kText, kTextSeed);
}

static uint32_t word_at(const unsigned char* at) {
    uint32_t word;
    memcpy(&word, at, 4);
    return word;
}

static int match_length(const unsigned char* a, const unsigned char* b, int limit) {
    int length = 0;
    while (length < limit && a[length] == b[length]) length++;
    return length;
}

/* Eight items to a flag byte; an item is a literal, or 2 bytes of distance and 1 of length. Returns the size. */
static size_t lz_pack(void) {
    unsigned char *out = packed, *flags = NULL;
    int bit = 8;
    memset(heads, 0xff, kHeads * sizeof *heads);
    for (int at = 0; at < kText; bit++) {
        if (bit == 8) flags = out++, *flags = 0, bit = 0;
        int length = 0, distance = 0;
        if (at + kMaxMatch < kText) {
            int* head = &heads[(word_at(text + at) * 2654435761u) >> 18];
            distance = at - *head;
            if (*head >= 0 && distance < 65536) length = match_length(text + at, text + *head, kMaxMatch);
            *head = at;
        }
        if (length < kMinMatch) {
            *out++ = text[at++];
            continue;
        }
        *flags |= (unsigned char)(1 << bit);
        *out++ = (unsigned char)distance;
        *out++ = (unsigned char)(distance >> 8);
        *out++ = (unsigned char)length;
        at += length;
    }
    return (size_t)(out - packed);
}

static void lz_unpack(void) {
    const unsigned char* in = packed;
    unsigned flags = 0;
    int bit = 8;
    for (int at = 0; at < kText; bit++) {
        if (bit == 8) flags = *in++, bit = 0;
        if (!(flags >> bit & 1)) {
            unpacked[at++] = *in++;
            continue;
        }
        const int distance = in[0] | in[1] << 8;
        for (int length = in[2]; length > 0; length--, at++) unpacked[at] = unpacked[at - distance];
        in += 3;
    }
}

static uint64_t compress_round(void) {
    const size_t size = lz_pack();
    lz_unpack();
    return mix_bytes(mix(size, (uint64_t)memcmp(text, unpacked, kText)), packed, size);
}

/* ---- bytecode: see bytecode.c ---- */
static int64_t* machine_memory;
static void bytecode_setup(void) { machine_memory = touched(kBytecodeMemory * sizeof *machine_memory); }
static uint64_t bytecode_round(void) { return run_bytecode(machine_memory); }

/* ---- dhrystone: records, strings, calls, branches, in about Dhrystone's mix ---- */
enum { kLoops = 150000 };
static struct record {
    struct record* next;
    int kind, choice, number;
    char name[32];
} *left, *right;
static int matrix[50][50], vector[50];

static void dhrystone_setup(void) {
    left = touched(sizeof *left);
    right = touched(sizeof *right);
    left->next = right;
    strcpy(left->name, "DHRYSTONE-LIKE, SOME STRING");
}

static __attribute__((noinline)) int choose(int a, int b) { return a == b ? 0 : a > b ? 2 : 1; }

static __attribute__((noinline)) void work_on_record(struct record* r, int loop) {
    struct record* other = r->next;
    *other = *r;
    other->number = loop & 15;
    other->choice = choose(other->number, r->number);
    r->number = other->choice ? other->number + 3 : 7;
    other->next = r;
}

static __attribute__((noinline)) void work_on_arrays(int row, int value) {
    const int at = row + 5;
    vector[at] = value;
    vector[at + 1] = vector[at];
    vector[at + 20] = at;
    for (int i = at; i <= at + 1; i++) matrix[at][i] = at;
    matrix[at][at - 1] += 1;
    matrix[at + 20][at] = vector[at];
}

static __attribute__((noinline)) int compare_names(const char* a, const char* b, int number) {
    int at = 2;
    while (at <= 2 && choose(a[at], b[at + 1])) at += 3;
    return strcmp(a, b) > 0 ? number + 7 : number + at;
}

static uint64_t dhrystone_round(void) {
    static char first[32], second[32];
    uint64_t sum = 0;
    int number = 2;
    memset(matrix, 0, sizeof matrix);
    left->number = left->choice = 0;
    for (int loop = 0; loop < kLoops; loop++) {
        strcpy(first, "DHRYSTONE-LIKE, 1'ST STRING");
        strcpy(second, "DHRYSTONE-LIKE, 2'ND STRING");
        second[16] = (char)('0' + (loop & 3));
        number = compare_names(first, second, number & 7);
        work_on_arrays(loop & 15, number);
        work_on_record(left, loop);
        for (char c = 'A'; c <= 'A' + (loop & 3); c++) number += choose(c, 'C');
        number = (number * 7 + left->number) / (1 + (loop & 7));
        sum += (uint64_t)number;
    }
    return mix_bytes(mix(sum, (uint64_t)left->number), matrix, sizeof matrix);
}

const struct program kInteger[] = {
    {"sort", "integer", "Mkeys/s", kKeys / 1e6, 0xaf95e383eed789a2, sort_setup, sort_round, NULL, NULL},
    {"hash", "integer", "Mops/s", (kEntries + kProbes) / 1e6, 0x42bcdf225874caca, hash_setup, hash_round, NULL, NULL},
    {"compress", "integer", "MB/s", kText / 1e6, 0x8eae59ca1258228, compress_setup, compress_round, NULL, NULL},
    {"bytecode", "integer", "runs/s", 20, 0x80f45d5a2bcb49c5, bytecode_setup, bytecode_round, NULL, NULL},
    {"dhrystone", "integer", "Mloops/s", kLoops / 1e6, 0xe1658f2abac36dcb, dhrystone_setup, dhrystone_round, NULL, NULL},
    {0},
};
