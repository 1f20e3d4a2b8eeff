#include "apps/image/mirrors.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "apps/process.h"

namespace yado::apps {

namespace {

using Mirrors = std::map<std::string, std::string>;  // suite: URI

std::vector<std::string> words_of(const std::string& text) {
    std::istringstream in(text);
    std::vector<std::string> words;
    for (std::string word; in >> word;) words.push_back(word);
    return words;
}

bool has(const std::vector<std::string>& words, std::string_view word) { return std::ranges::find(words, word) != words.end(); }

void add(Mirrors& mirrors, const std::string& uri, const std::string& suite, const std::vector<std::string>& components) {
    const bool known = suite == "bookworm" || suite == "bookworm-updates" || suite == "bookworm-security";
    if (known && has(components, "main") && uri.starts_with("http")) mirrors.try_emplace(suite, uri);
}

/// "deb [options] URI SUITE COMPONENT..."
void read_line(Mirrors& mirrors, std::string line) {
    line = line.substr(0, line.find('#'));
    const size_t open = line.find('['), close = line.find(']');
    if (open != line.npos && close != line.npos && open < close) line.erase(open, close - open + 1);
    const auto words = words_of(line);
    if (words.size() >= 4 && words[0] == "deb") add(mirrors, words[1], words[2], words);
}

/// deb822: stanzas of "Key: value" separated by empty lines.
void read_stanzas(Mirrors& mirrors, const std::string& text) {
    std::map<std::string, std::string> fields;
    const auto flush = [&] {
        if (has(words_of(fields["Types"]), "deb") && fields["Enabled"] != "no")
            for (const std::string& uri : words_of(fields["URIs"]))
                for (const std::string& suite : words_of(fields["Suites"])) add(mirrors, uri, suite, words_of(fields["Components"]));
        fields.clear();
    };
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with('#')) continue;
        const size_t colon = line.find(':');
        if (line.find_first_not_of(" \t\r") == line.npos) flush();
        else if (colon != line.npos && line[0] != ' ') fields[line.substr(0, colon)] = line.substr(std::min(colon + 2, line.size()));
    }
    flush();
}

std::string slurp(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

}  // namespace

std::vector<std::string> debian_sources_of(const std::vector<std::string>& lists, const std::vector<std::string>& deb822) {
    Mirrors mirrors;
    for (const std::string& text : lists) {
        std::istringstream in(text);
        for (std::string line; std::getline(in, line);) read_line(mirrors, line);
    }
    for (const std::string& text : deb822) read_stanzas(mirrors, text);
    mirrors.try_emplace("bookworm", "http://deb.debian.org/debian");
    mirrors.try_emplace("bookworm-updates", mirrors["bookworm"]);
    mirrors.try_emplace("bookworm-security", "http://deb.debian.org/debian-security");
    std::vector<std::string> sources;
    for (const auto& [suite, uri] : mirrors) sources.push_back("deb " + uri + " " + suite + " main");
    return sources;
}

std::vector<std::string> debian_sources() {
    std::vector<std::string> lists = {slurp("/etc/apt/sources.list")}, deb822;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator("/etc/apt/sources.list.d", ignored)) {
        if (entry.path().extension() == ".list") lists.push_back(slurp(entry.path()));
        if (entry.path().extension() == ".sources") deb822.push_back(slurp(entry.path()));
    }
    return debian_sources_of(lists, deb822);
}

std::vector<std::string> apt_proxy_options() {
    std::vector<std::string> options;
    const auto keep = [&](std::string_view line) {
        for (const std::string_view key : {"Acquire::http::Proxy ", "Acquire::https::Proxy "})
            if (line.starts_with(key)) options.emplace_back(line);
    };
    (void)run_program_to_end({.arguments = {"apt-config", "dump"}, .descriptors = {}, .environment = {}, .on_line = keep});
    return options;
}

}  // namespace yado::apps
