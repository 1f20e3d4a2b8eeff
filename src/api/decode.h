// JSON to API types, by their field tables. Scalars may also come as text ("512M", "on", "2"), because flat text and
// TOML are read through here too. Included by this module's .cpp files only.
#pragma once

#include <fmt/ranges.h>

#include <charconv>

#include "api/encode.h"

namespace yado::api {

/// What to do with a key that no field has: configurations refuse it, answers of a newer guest may hold it.
enum class UnknownKeys : uint8_t { Refuse, Ignore };

class Decoder {
  public:
    explicit Decoder(UnknownKeys unknown) : unknown_(unknown) {}

    /// False after a failure; path() and message() tell.
    template <typename T>
    bool read(const Json& in, T& out) {
        return decode(in, out);
    }
    const std::string& path() const { return path_; }  ///< "disk[0].readonly"
    const std::string& message() const { return message_; }

  private:
    struct Visitor {
        Decoder& decoder;
        const Json& in;
        size_t found = 0;
        std::vector<std::string_view> known;
        bool ok = true;
        template <typename T>
        void operator()(const char* name, T& member, const char*) {
            known.push_back(name);
            const auto item = ok ? in.find(name) : in.end();
            if (item == in.end()) return;
            ++found;
            ok = decoder.decode_at(name, *item, member);
        }
    };

    template <typename T>
    bool decode_at(const std::string& step, const Json& in, T& out) {
        const size_t length = path_.size();
        if (!path_.empty() && step[0] != '[') path_ += '.';
        path_ += step;
        if (!decode(in, out)) return false;  // the path stays where the failure was
        path_.resize(length);
        return true;
    }
    bool refuse(std::string message) {
        message_ = std::move(message);
        return false;
    }
    template <typename T>
    bool take(Result<T> parsed, T& out) {
        if (!parsed) return refuse(parsed.error().message());
        out = std::move(*parsed);
        return true;
    }

    template <Described T>
    bool decode(const Json& in, T& out) {
        if (!in.is_object()) return refuse("must be a table of keys and values");
        Visitor visitor{*this, in, 0, {}, true};
        fields(visitor, out);
        if (!visitor.ok) return false;
        if (unknown_ == UnknownKeys::Ignore || visitor.found == in.size()) return true;
        return name_unknown(in, visitor.known);
    }
    bool name_unknown(const Json& in, const std::vector<std::string_view>& known) {
        for (const auto& [key, value] : in.items()) {
            if (std::ranges::find(known, key) != known.end()) continue;
            path_ += path_.empty() ? key : "." + key;
            return refuse(fmt::format("unknown key \"{}\"; known keys are {}", key, fmt::join(known, ", ")));
        }
        return true;
    }
    template <typename T>
    bool decode(const Json& in, std::vector<T>& out) {
        out.clear();
        if (!in.is_array()) {  // one thing stands for a list of one
            out.emplace_back();
            return decode(in, out.back());
        }
        if (in.size() > kMaxList) return refuse("too many items");
        for (size_t i = 0; i < in.size(); ++i) {
            out.emplace_back();
            if (!decode_at(fmt::format("[{}]", i), in[i], out.back())) return false;
        }
        return true;
    }
    bool decode(const Json& in, Counters& out) {
        if (!in.is_object()) return refuse("must be a table of counters");
        for (const auto& [key, value] : in.items())
            if (!decode_at(key, value, out[key])) return false;
        return true;
    }
    bool decode(const Json& in, std::string& out) {
        if (!in.is_string()) return refuse("must be text");
        out = in.get<std::string>();
        if (out.find('\0') != std::string::npos) return refuse("holds a NUL character");
        return true;
    }
    bool decode(const Json& in, bool& out) {
        if (in.is_boolean()) return out = in.get<bool>(), true;
        const std::string text = in.is_string() ? in.get<std::string>() : "";
        if (text == "on" || text == "true" || text == "yes") return out = true, true;
        if (text == "off" || text == "false" || text == "no") return out = false, true;
        return refuse("must be on or off");
    }
    template <typename T>
        requires std::is_integral_v<T>
    bool decode(const Json& in, T& out) {
        const std::string text = in.is_string() ? in.get<std::string>() : in.is_number_integer() ? in.dump() : "x";
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
        if (error == std::errc() && end == text.data() + text.size()) return true;
        return refuse(fmt::format("must be a whole number from {} to {}", +std::numeric_limits<T>::min(),
                                  +std::numeric_limits<T>::max()));
    }
    template <typename T>
        requires std::is_enum_v<T>
    bool decode(const Json& in, T& out) {
        const std::string text = in.is_string() ? in.get<std::string>() : "";
        for (size_t i = 0; i < kWords<T>.size(); ++i)
            if (kWords<T>[i] == text) return out = static_cast<T>(i), true;
        return refuse(fmt::format("\"{}\" is none of {}", text, fmt::join(kWords<T>, ", ")));
    }
    bool decode(const Json& in, Bytes& out) {
        if (in.is_number_unsigned()) return out = Bytes(in.get<uint64_t>()), true;
        if (!in.is_string()) return refuse("must be a size such as 512M");
        return take(parse_size(in.get<std::string>()), out);
    }
    /// "5" or "5s"; at most a day.
    bool decode(const Json& in, std::chrono::seconds& out) {
        std::string text = in.is_string() ? in.get<std::string>() : in.dump();
        if (in.is_string() && text.ends_with('s')) text.pop_back();
        uint32_t count = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
        if (error != std::errc() || end != text.data() + text.size() || count > 86'400) return refuse("must be whole seconds, at most 86400: 5s");
        out = std::chrono::seconds(count);
        return true;
    }
    bool decode(const Json& in, Nanoseconds& out) {
        int64_t count = 0;
        if (!decode(in, count)) return false;
        out = Nanoseconds(count);
        return true;
    }
    bool decode(const Json& in, std::optional<MacAddress>& out) {
        if (!in.is_string()) return refuse("must be text");
        out.emplace();
        return take(parse_mac(in.get<std::string>()), *out);
    }
    bool decode(const Json& in, Forward& out) {
        if (!in.is_string()) return refuse("must be text");
        return take(parse_forward(in.get<std::string>()), out);
    }
    bool decode(const Json& in, ConsoleConfig& out) {
        if (!in.is_string()) return refuse("must be text");
        return take(parse_console(in.get<std::string>()), out);
    }
    bool decode(const Json& in, GdbConfig& out) {
        if (!in.is_string()) return refuse("must be text");
        return take(parse_gdb(in.get<std::string>()), out);
    }
    bool decode(const Json& in, PerfConfig& out) {
        if (!in.is_string()) return refuse("must be text");
        return take(parse_perf(in.get<std::string>()), out);
    }

    static constexpr size_t kMaxList = 4096;
    UnknownKeys unknown_;
    std::string path_, message_;
};

/// Parses and reads; ErrorKind `kind` with "path: message" on failure.
template <typename T>
Result<T> decode_text(std::string_view text, UnknownKeys unknown, ErrorKind kind) {
    const Json json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) return fail(kind, "not JSON");
    T out{};
    Decoder decoder(unknown);
    if (decoder.read(json, out)) return out;
    return fail(kind, "{}{}{}", decoder.path(), decoder.path().empty() ? "" : ": ", decoder.message());
}

}  // namespace yado::api
