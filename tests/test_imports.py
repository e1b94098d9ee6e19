"""No modules import each other in a circle, not even where only a type checker looks."""

from graphlib import TopologicalSorter

import grimp


def test_there_are_no_circles() -> None:
    graph = grimp.build_graph("shortener", exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    TopologicalSorter(imports).prepare()  # raises CycleError, which tells a circle
