// Appended after a kernel file's text: for each kernel its parameters in words, its thread limit, and a way to call it.
#pragma once
#include <type_traits>
#include <utility>

namespace emu {

// One letter and the size in bytes: i4 int, u4 unsigned, f4 float, b1 bool, s20 a struct; * before a pointer's element.
struct Code {
  char text[512] = {};
  int length = 0;
  constexpr void letter(char c) { text[length++] = c; }
  constexpr void number(size_t n) {
    if (n >= 10) number(n / 10);
    letter(char('0' + n % 10));
  }
  template <class T>
  constexpr void type() {
    if constexpr (std::is_pointer_v<T>) {
      letter('*');
      type<typename Element<std::remove_cv_t<std::remove_pointer_t<T>>>::type>();
    } else if constexpr (std::is_void_v<T>) {
      letter('v');
    } else {
      letter(std::is_same_v<T, bool>        ? 'b'
             : std::is_floating_point_v<T>  ? 'f'
             : !std::is_integral_v<T>       ? 's'
             : std::is_signed_v<T>          ? 'i'
                                            : 'u');
      number(sizeof(T));
    }
  }
};

template <class... Parameters>
constexpr Code code(void (*)(Parameters...)) {
  Code code;
  ((code.type<std::remove_cv_t<Parameters>>(), code.letter(' ')), ...);
  return code;
}

template <class... Parameters, size_t... I>
inline void call(void (*kernel)(Parameters...), void** arguments, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_reference_t<Parameters>*>(arguments[I])...);
}
template <class... Parameters>
inline void call(void (*kernel)(Parameters...), void** arguments) {
  call(kernel, arguments, std::index_sequence_for<Parameters...>{});
}

}  // namespace emu

#define EMU_FIRST(first, ...) (first)  // of __launch_bounds__'s arguments
#define EMU_VISIBLE extern "C" __attribute__((visibility("default")))
#define EMU_EXPORT(kernel, thread_limit)                                                  \
  EMU_VISIBLE void emu_run_##kernel(void** arguments) { emu::call(&kernel, arguments); }  \
  static constexpr emu::Code emu_code_of_##kernel = emu::code(&kernel);                   \
  EMU_VISIBLE const char* emu_code_##kernel() { return emu_code_of_##kernel.text; }       \
  EMU_VISIBLE int emu_threads_##kernel() { return thread_limit; }

// Gives this OS thread its copy of the file's __shared__ variables, all in one block with `emu_anchor`.
#if !defined(EMU_ADDRESS)
static thread_local char emu_anchor;
EMU_VISIBLE void* emu_touch_shared() { return &emu_anchor; }
#endif
