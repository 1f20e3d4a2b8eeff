// The three spellings of a configuration: flat text, TOML, JSON.
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "api/decode.h"

namespace yado::api {

namespace {

/// Splits at single commas; a doubled comma is one comma of the value.
std::vector<std::string> split_items(std::string_view text) {
    std::vector<std::string> items(1);
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != ',') {
            items.back() += text[i];
        } else if (i + 1 < text.size() && text[i + 1] == ',') {
            items.back() += text[i++];
        } else {
            items.emplace_back();
        }
    }
    return items;
}

/// A key given twice makes a list, which only list fields take.
void put(Json& table, const std::string& key, const std::string& value) {
    if (!table.contains(key)) {
        table[key] = value;
        return;
    }
    Json& there = table[key];
    if (!there.is_array()) there = Json::array({there});
    there.push_back(value);
}

Result<Json> flat_to_json(std::string_view text, const char* first_key) {
    Json table = Json::object();
    bool first = true;
    for (const std::string& item : split_items(text)) {
        const size_t equals = item.find('=');
        if (item.empty()) return fail(ErrorKind::Usage, "\"{}\" has an empty item; write key=value,key=value", text);
        if (equals != item.npos) {
            put(table, item.substr(0, equals), item.substr(equals + 1));
        } else if (first) {
            put(table, first_key, item);
        } else {
            return fail(ErrorKind::Usage, "\"{}\" has no value; write {}=VALUE (a comma in a value is written twice)", item, item);
        }
        first = false;
    }
    return table;
}

template <typename T>
Result<T> parse_flat(std::string_view text, const char* first_key) {
    const Json table = YADO_TRY(flat_to_json(text, first_key));
    T out;
    Decoder decoder(UnknownKeys::Refuse);
    if (decoder.read(table, out)) return out;
    const std::string prefix = decoder.message().starts_with("unknown key") ? "" : decoder.path() + ": ";
    return fail(ErrorKind::Usage, "{}{}", prefix, decoder.message());
}

Json toml_to_json(const toml::node& node) {
    if (const auto* table = node.as_table()) {
        Json out = Json::object();
        for (const auto& [key, value] : *table) out[std::string(key.str())] = toml_to_json(value);
        return out;
    }
    if (const auto* array = node.as_array()) {
        Json out = Json::array();
        for (const toml::node& item : *array) out.push_back(toml_to_json(item));
        return out;
    }
    if (const auto* text = node.as_string()) return text->get();
    if (const auto* flag = node.as_boolean()) return flag->get();
    if (const auto* number = node.as_integer()) {
        if (number->get() >= 0) return static_cast<uint64_t>(number->get());
        return number->get();
    }
    return nullptr;  // floats and dates: no field takes them
}

}  // namespace

Result<DiskConfig> parse_disk(std::string_view text) { return parse_flat<DiskConfig>(text, "path"); }
Result<NetConfig> parse_net(std::string_view text) { return parse_flat<NetConfig>(text, "kind"); }

Result<GuestConfig> parse_toml(std::string_view text, std::string_view source, GuestConfig base) {
    const toml::parse_result parsed = toml::parse(text);
    if (!parsed)
        return fail(ErrorKind::Usage, "{}:{}: {}", source, parsed.error().source().begin.line, parsed.error().description());
    Decoder decoder(UnknownKeys::Refuse);
    if (decoder.read(toml_to_json(parsed.table()), base)) return base;
    const auto where = parsed.table().at_path(decoder.path());
    const auto line = where ? where.node()->source().begin.line : 1;
    return fail(ErrorKind::Usage, "{}:{}: {}: {}", source, line, decoder.path(), decoder.message());
}

Result<> set_field(GuestConfig& config, std::string_view key, const std::string& text) {
    const auto option = [&](const Error& error) { return std::unexpected(error.within("--" + std::string(key))); };
    if (key == "disk") {
        const auto disk = parse_disk(text);
        if (!disk) return option(disk.error());
        config.disk.push_back(*disk);
        return {};
    }
    if (key == "net") {
        const auto net = parse_net(text);
        if (!net) return option(net.error());
        config.net.push_back(*net);
        return {};
    }
    Decoder decoder(UnknownKeys::Refuse);
    if (decoder.read(Json{{std::string(key), text}}, config)) return {};
    return option(Error(ErrorKind::Usage, decoder.message()));
}

std::string to_json(const GuestConfig& config) { return dump(encode(config)); }

std::string to_json(const DiskConfig& disk) { return dump(encode(disk)); }

Result<DiskConfig> disk_config_from_json(std::string_view text) { return decode_text<DiskConfig>(text, UnknownKeys::Refuse, ErrorKind::Usage); }

Result<GuestConfig> guest_config_from_json(std::string_view text) {
    return decode_text<GuestConfig>(text, UnknownKeys::Refuse, ErrorKind::Usage);
}

}  // namespace yado::api
