#include "storage/qcow2/inflate.h"

#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace yado::storage::qcow2 {
namespace {

constexpr int kWindowBits = -15;  // raw deflate; writers use 12 bits, which is among them

bool inflate_zlib(std::span<const std::byte> in, std::span<std::byte> out) {
    z_stream stream{};
    if (inflateInit2(&stream, kWindowBits) != Z_OK) return false;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
    stream.avail_in = static_cast<uInt>(in.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int result = ::inflate(&stream, Z_FINISH);
    const bool full = stream.avail_out == 0 && (result == Z_STREAM_END || result == Z_BUF_ERROR || result == Z_OK);
    inflateEnd(&stream);
    return full;
}

bool inflate_zstd(std::span<const std::byte> in, std::span<std::byte> out) {
    const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
    if (!context) return false;
    // No window larger than the largest cluster: what the decoder may allocate.
    if (ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, static_cast<int>(kMaxClusterBits)))) return false;
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    while (output.pos < output.size) {
        const size_t in_before = input.pos, out_before = output.pos;
        const size_t left = ZSTD_decompressStream(context.get(), &output, &input);
        if (ZSTD_isError(left)) return false;
        if (input.pos == in_before && output.pos == out_before) return false;
    }
    return true;
}

}  // namespace

bool inflate(Compression kind, std::span<const std::byte> in, std::span<std::byte> out) {
    return kind == Compression::Zlib ? inflate_zlib(in, out) : inflate_zstd(in, out);
}

}  // namespace yado::storage::qcow2
