"""scripts/check-yields objects to what it is meant to object to, and to nothing else."""

import importlib.machinery
import importlib.util
import pathlib
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(name):
    """A script of the tree as a module."""
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(ROOT / "scripts" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


CHECK = load("check-yields")

IO_H = """
/* YIELDS in a comment tags nothing. */
int plain(void);
YIELDS int io_recv(struct io *io,
                   long deadline_ns);
void on_loop_stack(void (*fn)(void *arg), void *arg);
"""


class CheckYields(unittest.TestCase):
    def objections(self, **files):
        """What is said about files given as name=text; __ stands for the dot."""
        with tempfile.TemporaryDirectory() as root:
            folder = pathlib.Path(root, "src", "rt")
            folder.mkdir(parents=True)
            for name, text in {"io__h": IO_H, **files}.items():
                (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
            return CHECK.check(root)

    def assert_clean(self, **files):
        self.assertEqual(self.objections(**files), [])

    def assert_objects(self, place, words, **files):
        said = self.objections(**files)
        self.assertEqual(len(said), 1, said)
        self.assertTrue(said[0].startswith(f"src/rt/{place}: "), said)
        self.assertIn(words, said[0])

    def test_tagged_caller_is_clean(self):
        self.assert_clean(a__c="YIELDS static int f(struct io *io)\n{\n    return io_recv(io, 1);\n}\n")

    def test_untagged_caller(self):
        self.assert_objects("a.c:3", "f calls io_recv",
                            a__c="static int f(struct io *io)\n{\n    return io_recv(io, 1);\n}\n")

    def test_call_in_a_comment_or_string_is_no_call(self):
        self.assert_clean(a__c='static void f(void)\n{\n    /* io_recv(io, 1) */ say("io_recv(1)");\n}\n')

    def test_task_body_may_call(self):
        self.assert_clean(a__c="static void body(void *arg)\n{\n    io_recv(arg, 1);\n}\n"
                               "void start(void)\n{\n    task_spawn(0, \"n\", body, NULL);\n}\n")

    def test_static_functions_of_other_files_are_strangers(self):
        self.assert_clean(a__c="YIELDS static int help(void)\n{\n    return io_recv(0, 1);\n}\n",
                          b__c="static int help(void)\n{\n    return 1;\n}\n"
                               "int use(void)\n{\n    return help();\n}\n")

    def test_yielding_goes_through_a_chain(self):
        self.assert_objects("a.c:5", "g calls f",
                            a__c="YIELDS static int f(void)\n{ return io_recv(0, 1); }\n"
                                 "static int g(void)\n{\n    return f();\n}\n")

    def test_no_yield_function(self):
        self.assert_objects("a.c:1", "tagged NO_YIELD",
                            a__c="NO_YIELD int on_frame(void) { return io_recv(0, 1); }\n")

    def test_no_yield_section(self):
        self.assert_objects("a.c:3", "between no_yield_begin",
                            a__c="YIELDS void f(void)\n{\n    no_yield_begin(); io_recv(0, 1);\n"
                                 "    no_yield_end();\n    io_recv(0, 2);\n}\n")

    def test_yielding_function_on_the_loop_stack(self):
        self.assert_objects("a.c:4", "handed to on_loop_stack",
                            a__c="YIELDS static void f(void *arg)\n{ io_recv(arg, 1); }\n"
                                 "void g(void)\n{ on_loop_stack(f, NULL); }\n")

    def test_header_without_the_tag(self):
        self.assert_objects("a.h:1", "not here", a__h="int f(void);\n",
                            a__c="YIELDS int f(void)\n{ return io_recv(0, 1); }\n")

    def test_definition_may_lean_on_the_header(self):
        self.assert_clean(a__h="YIELDS int f(void);\n",
                          a__c="int f(void)\n{ return io_recv(0, 1); }\n")

    def test_call_through_a_tagged_member(self):
        ops = "struct ops {\n    YIELDS int (*read)(int a);\n    int (*abort)(int a);\n};\n"
        self.assert_clean(ops__h=ops, a__c="int f(struct ops *o)\n{ return o->abort(1); }\n")
        self.assert_objects("a.c:2", "f calls read", ops__h=ops,
                            a__c="int f(struct ops *o)\n{ return o->read(1); }\n")

    def test_yielding_function_behind_a_plain_member(self):
        self.assert_objects("a.c:2", "behind the member run",
                            ops__h="struct ops {\n    int (*run)(int a);\n};\n",
                            a__c="YIELDS static int f(int a) { return io_recv(0, a); }\n"
                                 "static const struct ops OPS = {.run = f, .name = 1};\n")

    def test_macro_that_calls(self):
        self.assert_objects("a.c:2", "f calls TRY_RECV",
                            a__c="#define TRY_RECV(io) \\\n    if (io_recv(io, 1)) return\n"
                                 .replace("\\\n", "") +
                                 "void f(void) { TRY_RECV(0); }\n")


if __name__ == "__main__":
    unittest.main()
