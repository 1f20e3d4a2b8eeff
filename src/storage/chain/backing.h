// Whether, and how, the file is opened that an image's header names as lying below it. The name is a claim of whoever
// wrote the image: a guest, or a stranger.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "storage/format.h"

namespace yado::storage {

enum class BackingPolicy : uint8_t {
    None,    ///< an image that names a backing file is refused
    Folder,  ///< followed where it stays in the image's folder and below, without symbolic links
    Any,     ///< followed wherever it leads; still only files and block devices
};
/// "none", "folder" or "any". Errors: Usage.
Result<BackingPolicy> parse_backing(std::string_view text);

/// An image's file and the folder that its header's relative names start from.
struct Place {
    std::string path;  ///< for errors, and for opening where the policy is Any
    Fd folder;         ///< O_PATH
};
/// The place of a file that the user named. Errors: NotFound, Denied.
Result<Place> place_of(std::string path);

struct Followed {
    Fd fd;  ///< neither locked nor looked at
    Place place;
};
/// Opens what `image`'s header claims. Errors: Denied (the policy forbids it; the line says what would allow it),
/// Corrupt (no format is named, a name with a protocol), NotFound.
Result<Followed> follow(const Place& image, const BackingClaim& claim, BackingPolicy policy, bool readonly);

/// The name for a header of an image at `image` that is to have `base` below it: relative where both lie in one folder,
/// else absolute. Errors: NotFound.
Result<std::string> recorded_name(const std::string& image, const std::string& base);

/// Text from a file as it may stand in an error: printable, and not too long.
std::string printable(std::string_view text);

}  // namespace yado::storage
