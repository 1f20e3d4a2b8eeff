// API types to JSON, by their field tables. Included by this module's .cpp files only.
#pragma once

#include <nlohmann/json.hpp>

#include "api/fields.h"

namespace yado::api {

using Json = nlohmann::ordered_json;

inline Json encode(const std::string& v) { return v; }
inline Json encode(bool v) { return v; }
template <typename T>
    requires std::is_integral_v<T>
Json encode(T v) {
    return v;
}
template <typename T>
    requires std::is_enum_v<T>
Json encode(T v) {
    return std::string(word_of(v));
}
inline Json encode(Bytes v) { return v.value(); }
inline Json encode(Nanoseconds v) { return v.count(); }
inline Json encode(std::chrono::seconds v) { return v.count(); }
inline Json encode(const Forward& v) { return to_string(v); }
inline Json encode(const ConsoleConfig& v) { return to_string(v); }
inline Json encode(const GdbConfig& v) { return to_string(v); }
inline Json encode(const PerfConfig& v) { return to_string(v); }
inline Json encode(const Counters& v) {
    Json out = Json::object();
    for (const auto& [name, count] : v) out[name] = count;
    return out;
}

struct Encoder {
    Json& out;
    template <typename T>
    void operator()(const char* name, const T& member, const char*);
    void operator()(const char* name, const std::optional<MacAddress>& member, const char*) {
        if (member) out[name] = to_string(*member);
    }
};
template <Described T>
Json encode(const T& object) {
    Json out = Json::object();
    Encoder visitor{out};
    fields(visitor, object);
    return out;
}
template <typename T>
Json encode(const std::vector<T>& list) {
    Json out = Json::array();
    for (const T& item : list) out.push_back(encode(item));
    return out;
}
template <typename T>
void Encoder::operator()(const char* name, const T& member, const char*) {
    out[name] = encode(member);
}

/// Text that is not UTF-8 (a guest can put anything into a detail) comes out with replacement characters.
inline std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace yado::api
