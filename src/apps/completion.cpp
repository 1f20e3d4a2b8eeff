// Completion scripts from the tree of verbs: bash and zsh walk the words typed so far, fish gets one rule an option.
#include <algorithm>

#include "apps/verbs.h"

namespace yado::apps {

namespace {

/// One verb with its path: "/image/build".
struct Node {
    std::string path;
    const CommandTree* tree;
};

void flatten(const CommandTree& tree, const std::string& path, std::vector<Node>& out) {
    out.push_back({path, &tree});
    for (const CommandTree& child : tree.children) flatten(child, path + "/" + child.name, out);
}

/// What a shell runs or offers for a positional.
std::string positional_words(const std::string& positional) {
    if (positional == "GUEST") return "$(yado ps -q 2>/dev/null)";
    if (positional == "IMAGE") return "$(yado image ls -q 2>/dev/null)";
    if (positional == "FILE") return "";
    std::string words = positional;
    std::ranges::replace(words, '|', ' ');
    return words;
}

bool is_list(const std::string& values) { return values.find('|') != values.npos; }
bool is_file(const std::string& values) { return values == "FILE"; }

std::string spaced(std::string values) {
    std::ranges::replace(values, '|', ' ');
    return values;
}

std::string all_words(const CommandTree& tree) {
    std::string words;
    for (const auto& child : tree.children) words += child.name + " ";
    for (const auto& option : tree.options) words += option.flag + " ";
    return words + positional_words(tree.positional);
}

/// case lines shared by bash and zsh: which words are verbs of a path, what an option's value may be, what comes next.
struct Cases {
    std::string verbs, values, words;
};
Cases cases_of(const CommandTree& root, std::string_view offer, std::string_view files, std::string_view also_files) {
    std::vector<Node> nodes;
    flatten(root, "", nodes);
    Cases cases;
    for (const Node& node : nodes) {
        if (!node.path.empty()) cases.verbs += (cases.verbs.empty() ? "" : "|") + node.path;
        for (const auto& option : node.tree->options) {
            if (is_list(option.values))
                cases.values += fmt::format("    {}:{}) {}; return ;;\n", node.path, option.flag, fmt::format(fmt::runtime(offer), spaced(option.values)));
            if (is_file(option.values)) cases.values += fmt::format("    {}:{}) {}; return ;;\n", node.path, option.flag, files);
        }
        const std::string more = is_file(node.tree->positional) ? fmt::format("; {}", also_files) : "";
        cases.words += fmt::format("    \"{}\") {}{} ;;\n", node.path, fmt::format(fmt::runtime(offer), all_words(*node.tree)), more);
    }
    return cases;
}

std::string bash_script(const CommandTree& root) {
    const Cases cases = cases_of(root, "COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))", "COMPREPLY=($(compgen -f -- \"$cur\"))",
                                 "COMPREPLY+=($(compgen -f -- \"$cur\"))");
    return "# bash completion of yado: source <(yado completion bash)\n"
           "_yado() {\n"
           "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= i\n"
           "  COMPREPLY=()\n"
           "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
           "    case \"$verb/${COMP_WORDS[i]}\" in\n"
           "      " + cases.verbs + ") verb=\"$verb/${COMP_WORDS[i]}\" ;;\n"
           "    esac\n"
           "  done\n"
           "  case \"$verb:$prev\" in\n" + cases.values +
           "  esac\n"
           "  case \"$verb\" in\n" + cases.words +
           "  esac\n"
           "}\n"
           "complete -o filenames -F _yado yado\n";
}

std::string zsh_script(const CommandTree& root) {
    const Cases cases = cases_of(root, "compadd -- ${{=:-{}}}", "_files", "_files");
    return "#compdef yado\n"
           "# zsh completion of yado: source <(yado completion zsh)\n"
           "_yado() {\n"
           "  local verb= word\n"
           "  for word in ${words[2,CURRENT-1]}; do\n"
           "    case \"$verb/$word\" in\n"
           "      " + cases.verbs + ") verb=\"$verb/$word\" ;;\n"
           "    esac\n"
           "  done\n"
           "  case \"$verb:${words[CURRENT-1]}\" in\n" + cases.values +
           "  esac\n"
           "  case \"$verb\" in\n" + cases.words +
           "  esac\n"
           "}\n"
           "compdef _yado yado\n";
}

std::string quoted(std::string text) {
    for (size_t at = 0; (at = text.find('\'', at)) != text.npos; at += 2) text.replace(at, 1, "\\'");
    return "'" + text + "'";
}

void fish_rules(const CommandTree& tree, const std::string& condition, std::string& out) {
    const std::string when = condition.empty() ? "" : " -n " + quoted(condition);
    for (const auto& option : tree.options) {
        if (!option.flag.starts_with("--")) continue;
        const std::string values = is_list(option.values) ? " -x -a " + quoted(spaced(option.values))
                                   : is_file(option.values) ? " -r -F" : option.values.empty() ? "" : " -x";
        out += fmt::format("complete -c yado{} -l {}{} -d {}\n", when, option.flag.substr(2), values, quoted(option.help));
    }
    std::string offer = positional_words(tree.positional);
    if (offer.starts_with("$(")) offer = offer.substr(1);  // fish: (command)
    if (is_file(tree.positional)) out += fmt::format("complete -c yado{} -F\n", when);
    if (!offer.empty()) out += fmt::format("complete -c yado{} -a {}\n", when, quoted(offer));
    for (const auto& child : tree.children) {
        const std::string parent = condition.empty() ? "__fish_use_subcommand" : condition;
        out += fmt::format("complete -c yado -n {} -a {} -d {}\n", quoted(parent), child.name, quoted(child.help));
        const std::string seen = "__fish_seen_subcommand_from " + child.name;
        fish_rules(child, condition.empty() ? seen : condition + "; and " + seen, out);
    }
}

std::string fish_script(const CommandTree& root) {
    std::string out = "# fish completion of yado: yado completion fish | source\ncomplete -c yado -f\n";
    fish_rules(root, "", out);
    return out;
}

}  // namespace

Result<std::string> completion_script(const CommandTree& tree, const std::string& shell) {
    if (shell == "bash") return bash_script(tree);
    if (shell == "zsh") return zsh_script(tree);
    if (shell == "fish") return fish_script(tree);
    return fail(ErrorKind::Usage, "no completion for \"{}\"; known shells are bash, zsh, fish", shell);
}

}  // namespace yado::apps
