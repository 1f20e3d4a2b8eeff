#include "apps/disk/disk_cli.h"

#include <CLI/CLI.hpp>

namespace yado::apps {

struct DiskCommands::State {
    ImageOption image, other;
    NewImageOption fresh;
    ResizeOptions resize;
    RebaseOptions rebase;
    ServeOptions serve;
    std::string size, repair, name;
    bool keep = false;
    Format format = Format::Text;
};

namespace {

constexpr const char* kFormats = "raw|qcow2|vhd|vhdx|vmdk";
constexpr const char* kFormatsAndAuto = "auto|raw|qcow2|vhd|vhdx|vmdk";

DiskCommands::Verb plain(std::function<Result<>()> f) {
    return [f = std::move(f)]() -> Result<int> {
        YADO_TRY(f());
        return 0;
    };
}

void file_argument(CLI::App* sub, const char* name, std::string& path, const char* help) {
    sub->add_option(name, path, help)->required()->type_name("FILE");
}

/// The image that a verb is about. Only what reads may guess its format.
void image_argument(CLI::App* sub, ImageOption& image, bool reads) {
    file_argument(sub, "IMAGE", image.path, "image file or block device");
    sub->add_option("-f,--format", image.format, reads ? "its format; auto: guessed from its first and last bytes" : "its format")
        ->type_name(reads ? kFormatsAndAuto : kFormats);
}

void backing_option(CLI::App* sub, ImageOption& image) {
    sub->add_option("--backing", image.backing, "whether the backing file that it names is followed: no (default), in its folder, anywhere")
        ->type_name("none|folder|any");
}

void new_image_options(CLI::App* sub, NewImageOption& image) {
    sub->add_option("--cluster-size", image.cluster_size, "what is allocated at once: 64K")->type_name("SIZE");
    sub->add_flag("--preallocate", image.preallocate, "reserve all space now; vhd, vhdx: fixed size");
}

void json_flag(CLI::App* sub, Format& format) {
    sub->add_flag_callback("--json", [&format] { format = Format::Json; }, "print JSON");
}

}  // namespace

DiskCommands::DiskCommands() : state_(std::make_unique<State>()) {}
DiskCommands::~DiskCommands() = default;

namespace {

template <typename State>
void add_making(CLI::App& disk, State& s, const DiskCommands::AddVerb& add) {
    CLI::App* create = add(disk, "create", "make an empty image", plain([&s] { return disk_create(s.fresh, s.size); }));
    file_argument(create, "IMAGE", s.fresh.path, "file to make");
    create->add_option("--size", s.size, "size of the disk: 20G")->required()->type_name("SIZE");
    create->add_option("-f,--format", s.fresh.format, "format (default: by the extension)")->type_name(kFormats);
    new_image_options(create, s.fresh);

    CLI::App* convert = add(disk, "convert", "write an image's contents into a new one, of any format", plain([&s] { return disk_convert(s.image, s.fresh); }));
    image_argument(convert, s.image, true);
    backing_option(convert, s.image);
    file_argument(convert, "TARGET", s.fresh.path, "file to make");
    convert->add_option("--to", s.fresh.format, "format of the target (default: by its extension)")->type_name(kFormats);
    new_image_options(convert, s.fresh);

    CLI::App* compact = add(disk, "compact", "write an image anew without what it no longer uses", plain([&s] { return disk_compact(s.image); }));
    image_argument(compact, s.image, false);
    backing_option(compact, s.image);

    CLI::App* clone = add(disk, "clone", "make an image that shows another until it is written to", plain([&s] { return disk_clone(s.image, s.fresh); }));
    file_argument(clone, "BASE", s.image.path, "image that is cloned; it must not be written to from now on");
    clone->add_option("-f,--format", s.image.format, "format of the base")->type_name(kFormats);
    file_argument(clone, "CLONE", s.fresh.path, "file to make");
    clone->add_option("--to", s.fresh.format, "format of the clone (default: by its extension)")->type_name("qcow2|vhd|vhdx");
}

template <typename State>
void add_showing(CLI::App& disk, State& s, const DiskCommands::AddVerb& add) {
    CLI::App* info = add(disk, "info", "show what an image's header says", plain([&s] { return disk_info(s.image, s.format); }));
    image_argument(info, s.image, true);
    json_flag(info, s.format);

    CLI::App* check = add(disk, "check", "check an image's structure; status 1 if errors are left", [&s] { return disk_check(s.image, s.repair, s.format); });
    image_argument(check, s.image, true);
    check->add_option("--repair", s.repair, "repair leaked clusters only, or all")->type_name("leaks|all");
    json_flag(check, s.format);

    CLI::App* compare = add(disk, "compare", "compare what two images show; status 1 if they differ", [&s] { return disk_compare(s.image, s.other, s.format); });
    image_argument(compare, s.image, true);
    backing_option(compare, s.image);
    file_argument(compare, "OTHER", s.other.path, "the other image");
    compare->add_option("--other-format", s.other.format, "its format")->type_name(kFormatsAndAuto);
    compare->add_option("--other-backing", s.other.backing, "whether its backing file is followed")->type_name("none|folder|any");
    json_flag(compare, s.format);
}

template <typename State>
void add_changing(CLI::App& disk, State& s, const DiskCommands::AddVerb& add) {
    CLI::App* resize = add(disk, "resize", "make an image larger, or smaller", plain([&s] { return disk_resize(s.image, s.resize); }));
    image_argument(resize, s.image, false);
    backing_option(resize, s.image);
    resize->add_option("SIZE", s.resize.size, "the new size: 20G, or +5G")->required()->type_name("SIZE");
    resize->add_flag("--shrink", s.resize.shrink, "allow a smaller size; refused where data lies behind it");
    resize->add_flag("--force", s.resize.force, "with --shrink: cut data off");

    CLI::App* commit = add(disk, "commit", "write a clone's changes into its base, and empty the clone", plain([&s] { return disk_commit(s.image, s.keep); }));
    image_argument(commit, s.image, false);
    backing_option(commit, s.image);
    commit->add_flag("--keep", s.keep, "leave the clone as it is");

    CLI::App* rebase = add(disk, "rebase", "put a clone on another base; it shows the same afterwards", plain([&s] { return disk_rebase(s.image, s.rebase); }));
    image_argument(rebase, s.image, false);
    backing_option(rebase, s.image);
    rebase->add_option("--onto", s.rebase.onto, "the new base; none: all is copied into the image")->required()->type_name("FILE");
    rebase->add_option("--onto-format", s.rebase.onto_format, "its format")->type_name(kFormats);
    rebase->add_flag("--unsafe", s.rebase.header_only, "only write the new name into the header: for a base that was moved");
}

template <typename State>
void add_snapshots(CLI::App& disk, State& s, const DiskCommands::AddVerb& add) {
    CLI::App* snapshot = disk.add_subcommand("snapshot", "snapshots inside an image that no guest uses");
    snapshot->require_subcommand(1);
    for (const auto& [word, help] : {std::pair{"create", "keep what the image holds now under a name"}, {"delete", "delete a snapshot"},
                                     {"rollback", "make the image hold what it held then"}}) {
        CLI::App* sub = add(*snapshot, word, help, plain([&s, word = std::string(word)] { return disk_snapshot(word, s.image, s.name); }));
        image_argument(sub, s.image, false);
        sub->add_option("NAME", s.name, "name of the snapshot")->required()->type_name("NAME");
    }
    CLI::App* list = add(*snapshot, "list", "list an image's snapshots", plain([&s] { return disk_snapshot_list(s.image, s.format); }));
    image_argument(list, s.image, true);
    json_flag(list, s.format);
}

template <typename State>
void add_serving(CLI::App& disk, State& s, const DiskCommands::AddVerb& add) {
    CLI::App* serve = add(disk, "serve", "offer an image that no guest uses to NBD clients", plain([&s] { return disk_serve(s.image, s.serve); }));
    image_argument(serve, s.image, true);
    backing_option(serve, s.image);
    serve->add_option("--socket", s.serve.socket, "unix socket to make")->type_name("FILE");
    serve->add_option("--tcp", s.serve.tcp, "address and port, 127.0.0.1:10809; whoever reaches it may use the image")->type_name("[ADDR:]PORT");
    serve->add_option("--export", s.serve.export_name, "name of the export (default: none is needed)")->type_name("NAME");
    serve->add_flag("--readonly", s.serve.readonly, "clients may not write");
    serve->add_flag("--persistent", s.serve.persistent, "go on when the last client has left, until SIGINT or SIGTERM");
}

}  // namespace

void DiskCommands::add_to(CLI::App& app, const AddVerb& add) {
    CLI::App* disk = app.add_subcommand("disk", "disk images: create, info, check, resize, convert, compact, clone, snapshot, commit, rebase, compare, serve");
    disk->require_subcommand(1);
    add_making(*disk, *state_, add);
    add_showing(*disk, *state_, add);
    add_changing(*disk, *state_, add);
    add_snapshots(*disk, *state_, add);
    add_serving(*disk, *state_, add);
}

}  // namespace yado::apps
