#include <fmt/ranges.h>

#include <algorithm>

#include "storage/format.h"
#include "storage/raw/raw_image.h"

namespace yado::storage {

const std::vector<const Format*>& all_formats() {
    static const std::vector<const Format*> formats{&raw_format()};
    return formats;
}

Result<const Format*> find_format(std::string_view name) {
    const auto& formats = all_formats();
    const auto found = std::ranges::find(formats, name, &Format::name);
    if (found != formats.end()) return *found;
    std::vector<std::string_view> names;
    for (const Format* format : formats) names.push_back(format->name());
    return fail(ErrorKind::Usage, "format={}: choose one of {}", name, fmt::join(names, ", "));
}

}  // namespace yado::storage
