#pragma once
namespace yado {
/// std::visit(Overloaded{[](A) {...}, [](B) {...}}, variant).
template <typename... F>
struct Overloaded : F... {
    using F::operator()...;
};
}  // namespace yado
