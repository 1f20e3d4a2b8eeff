#include "cpu_interp/decode/decode.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

#include "cpu/state.h"

namespace yado::cpu_interp {
namespace {

struct Decoded {
    DecodeStatus status;
    Insn i;
};

Decoded decode_bytes(CodeMode mode, std::initializer_list<uint8_t> bytes) {
    const std::vector<uint8_t> b(bytes);
    Decoded d{};
    d.status = decode(b.data(), b.size(), mode, &d.i);
    return d;
}

TEST(Decode, AnAbsoluteMoveTakesAnEightByteImmediate) {
    const auto d = decode_bytes(CodeMode::Bits64, {0x49, 0xbf, 1, 2, 3, 4, 5, 6, 7, 8});
    ASSERT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_EQ(d.i.length, 10);
    EXPECT_EQ(d.i.imm64, 0x0807060504030201u);
    EXPECT_EQ(d.i.reg, cpu::R15);
    EXPECT_EQ(d.i.opsize, 8);
}

TEST(Decode, ASibWithoutBaseKeepsOnlyTheDisplacement) {
    const auto d = decode_bytes(CodeMode::Bits64, {0x4b, 0x8b, 0x04, 0x25, 0x78, 0x56, 0x34, 0x12});
    ASSERT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_EQ(d.i.base, kNoReg);
    EXPECT_EQ(d.i.index, cpu::R12);
    EXPECT_EQ(d.i.disp, 0x12345678);
}

TEST(Decode, RipRelativeExistsInSixtyFourBitModeOnly) {
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0x8b, 0x05, 4, 0, 0, 0}).i.base, kRipReg);
    EXPECT_EQ(decode_bytes(CodeMode::Bits32, {0x8b, 0x05, 4, 0, 0, 0}).i.base, kNoReg);
}

TEST(Decode, SixteenBitAddressingDefaultsToTheStackSegmentForBp) {
    const auto d = decode_bytes(CodeMode::Bits16, {0x8b, 0x43, 0xfe});
    ASSERT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_EQ(d.i.base, cpu::RBP);
    EXPECT_EQ(d.i.index, cpu::RDI);
    EXPECT_EQ(d.i.disp, -2);
    EXPECT_EQ(d.i.seg, cpu::SS);
}

TEST(Decode, ARexBeforeALegacyPrefixIsIgnored) {
    const auto d = decode_bytes(CodeMode::Bits64, {0x48, 0x66, 0x89, 0xc8});
    ASSERT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_EQ(d.i.opsize, 2);
    EXPECT_FALSE(d.i.rex);
}

TEST(Decode, DataSegmentOverridesMeanNothingInSixtyFourBitMode) {
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0x2e, 0x8b, 0x00}).i.seg, cpu::DS);
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0x65, 0x8b, 0x00}).i.seg, cpu::GS);
    EXPECT_EQ(decode_bytes(CodeMode::Bits32, {0x2e, 0x8b, 0x00}).i.seg, cpu::CS);
}

TEST(Decode, LockIsRefusedWithoutAMemoryDestination) {
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0xf0, 0x01, 0xc8}).status, DecodeStatus::Undefined);
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0xf0, 0x03, 0x08}).status, DecodeStatus::Undefined);
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0xf0, 0x01, 0x08}).status, DecodeStatus::Ok);
}

TEST(Decode, SixteenBytesAreTooLong) {
    const std::vector<uint8_t> b(16, 0x66);
    Insn i;
    EXPECT_EQ(decode(b.data(), 16, CodeMode::Bits64, &i), DecodeStatus::TooLong);
    EXPECT_EQ(decode(b.data(), 14, CodeMode::Bits64, &i), DecodeStatus::NeedMore);
}

TEST(Decode, FifteenBytesAreNotTooLong) {
    const auto d = decode_bytes(CodeMode::Bits64,
                                {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90});
    EXPECT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_EQ(d.i.length, 15);
}

TEST(Decode, EvexIsUndefinedInSixtyFourBitMode) {
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0x62, 0xf8, 0x77, 0, 0, 0}).status, DecodeStatus::Undefined);
}

TEST(Decode, AThreeByteVexPrefixFillsMapPrefixRegistersAndW) {
    const auto d = decode_bytes(CodeMode::Bits64, {0xc4, 0x42, 0x9d, 0xb8, 0x14, 0x8b});  // vfmadd231pd ymm10, ymm12, [r11+rcx*4]
    ASSERT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_EQ(d.i.length, 6);
    EXPECT_TRUE(d.i.vex && d.i.vex_l && d.i.rex_w && d.i.mem);
    EXPECT_EQ(d.i.map, Map::Of38);
    EXPECT_EQ(d.i.mandatory, Mandatory::P66);
    EXPECT_EQ(d.i.vvvv, 12);
    EXPECT_EQ(d.i.reg, 10);
    EXPECT_EQ(d.i.base, cpu::R11);
    EXPECT_EQ(d.i.index, cpu::RCX);
    EXPECT_FALSE(d.i.rex || d.i.op66);
}

TEST(Decode, ATwoByteVexPrefixExtendsTheRegisterFieldOnly) {
    const auto d = decode_bytes(CodeMode::Bits64, {0xc5, 0x2a, 0x58, 0xca});  // vaddss xmm9, xmm10, xmm2
    ASSERT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_EQ(d.i.length, 4);
    EXPECT_EQ(d.i.map, Map::Of);
    EXPECT_EQ(d.i.mandatory, Mandatory::PF3);
    EXPECT_FALSE(d.i.vex_l || d.i.rex_w);
    EXPECT_EQ(d.i.reg, 9);
    EXPECT_EQ(d.i.vvvv, 10);
    EXPECT_EQ(d.i.rm, 2);
}

TEST(Decode, VzeroupperHasNoModrmByte) {
    const auto d = decode_bytes(CodeMode::Bits64, {0xc5, 0xf8, 0x77, 0xff});
    ASSERT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_EQ(d.i.length, 3);
    EXPECT_EQ(d.i.vvvv, 0);
}

TEST(Decode, OutsideSixtyFourBitModeVexTakesTheEncodingsThatAreNoFarPointerLoads) {
    EXPECT_FALSE(decode_bytes(CodeMode::Bits32, {0xc5, 0x3a, 0x58, 0xca}).i.vex);
    EXPECT_FALSE(decode_bytes(CodeMode::Bits16, {0xc4, 0x42, 0x9d, 0xb8}).i.vex);
    const auto d = decode_bytes(CodeMode::Bits32, {0xc4, 0xc1, 0x6a, 0x58, 0xca});  // B means nothing
    ASSERT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_TRUE(d.i.vex);
    EXPECT_EQ(d.i.rm, 2);
    EXPECT_EQ(d.i.vvvv, 2);
}

TEST(Decode, LegacyPrefixesBeforeVexAreUndefined) {
    for (const uint8_t prefix : {0x66, 0xf2, 0xf3, 0xf0, 0x40, 0x48})
        EXPECT_EQ(decode_bytes(CodeMode::Bits64, {prefix, 0xc5, 0xf8, 0x58, 0xca}).status, DecodeStatus::Undefined) << +prefix;
    for (const uint8_t prefix : {0x67, 0x65, 0x2e})
        EXPECT_EQ(decode_bytes(CodeMode::Bits64, {prefix, 0xc5, 0xf8, 0x58, 0xca}).status, DecodeStatus::Ok) << +prefix;
}

TEST(Decode, VexHasThreeOpcodeMaps) {
    for (const uint8_t map : {0, 4, 5, 31})
        EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0xc4, static_cast<uint8_t>(0xe0 | map), 0x78, 0x58, 0xca, 0}).status, DecodeStatus::Undefined) << +map;
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0xc4, 0xe3, 0x79, 0x04, 0xca, 7}).i.imm, 7);
}

TEST(Decode, TheIndexOfAGatherIsAVectorRegisterAndMayBeFour) {
    const auto d = decode_bytes(CodeMode::Bits64, {0xc4, 0xe2, 0x69, 0x90, 0x0c, 0x20});  // vpgatherdd xmm1, [rax+xmm4], xmm2
    ASSERT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_EQ(d.i.index, 4);
    EXPECT_EQ(d.i.base, cpu::RAX);
}

TEST(Decode, TestIsTheOnlyMemberOfItsGroupWithAnImmediate) {
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0xf7, 0xc0, 1, 2, 3, 4}).i.length, 6);
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0xf7, 0xd8, 1, 2, 3, 4}).i.length, 2);
}

TEST(Decode, AFarPointerFillsOffsetAndSelector) {
    const auto d = decode_bytes(CodeMode::Bits32, {0xea, 0x44, 0x33, 0x22, 0x11, 0x08, 0x00});
    ASSERT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_EQ(d.i.imm, 0x11223344);
    EXPECT_EQ(d.i.disp, 8);
}

TEST(Decode, NearBranchesIgnoreTheOperandSizePrefixInSixtyFourBitMode) {
    const auto d = decode_bytes(CodeMode::Bits64, {0x66, 0xe9, 1, 0, 0, 0});
    ASSERT_EQ(d.status, DecodeStatus::Ok);
    EXPECT_EQ(d.i.length, 6);
    EXPECT_EQ(d.i.opsize, 8);
}

TEST(Decode, AMemoryOffsetIsAsWideAsTheAddressSize) {
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0xa1, 1, 2, 3, 4, 5, 6, 7, 8}).i.length, 9);
    EXPECT_EQ(decode_bytes(CodeMode::Bits64, {0x67, 0xa1, 1, 2, 3, 4, 5, 6, 7, 8}).i.length, 6);
    EXPECT_EQ(decode_bytes(CodeMode::Bits16, {0xa1, 1, 2, 3, 4}).i.length, 3);
}

}  // namespace
}  // namespace yado::cpu_interp
