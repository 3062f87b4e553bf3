"""Where the nodes of a directed graph go: in ranks along its direction, ordered so that few edges cross.

After Sugiyama, Tagawa & Toda (1981): ranks by the longest path, order by barycentres; then places by least squares.
Edges that span ranks get a bend in each rank between, which takes part as a small node; the longest ones go straight
where all together would have too many.
"""

from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Member = str | tuple[int, int]
"""A node by its key, or a bend by its edge and rank."""

_SWEEPS = 12
_VISITS = 200_000
"""Members that all sweeps together look at, so that graphs too large to be looked at take no hours."""
_MOST_BENDS = 3000
_STRAIGHT, _LOOSE = 8.0, 0.1  # how an edge between bends pulls, and one to a node that has no other; 1 is usual


@dataclass
class Layout:
    """Ranks of nodes and bends in order, the place of each across its rank, and every edge's way, bends included."""

    ranks: list[list[Member]]
    places: dict[Member, float]
    ways: list[list[Member]]


def arrange(sizes: Mapping[str, float], edges: Sequence[tuple[str, str]], gap: float) -> Layout:
    """The layout of nodes of these sizes across their ranks, `gap` apart. Edges that close a circle run backwards."""
    rank = _ranks(list(sizes), edges)
    ways: list[list[Member]] = []
    members: dict[int, list[Member]] = defaultdict(list)
    for node in sizes:
        members[rank[node]].append(node)
    lengths = [abs(rank[source] - rank[target]) for source, target in edges]
    longest = _longest_bent(lengths)
    for index, (source, target) in enumerate(edges):
        step = 1 if rank[source] < rank[target] else -1
        between = range(rank[source] + step, rank[target], step) if lengths[index] <= longest else range(0)
        bends: list[Member] = [(index, r) for r in between]
        ways.append([source, *bends, target])
        for bend, r in zip(bends, between, strict=True):
            members[r].append(bend)
    bent = [way for way, length in zip(ways, lengths, strict=True) if length <= longest]
    links = [pair if rank_up else pair[::-1] for pair, rank_up in _segments(bent, rank)]
    ranks = _ordered([members[r] for r in range(len(members))], links)
    return Layout(ranks, _placed(ranks, links, sizes, gap), ways)


def _longest_bent(lengths: Sequence[int]) -> int:
    """The most ranks that an edge may span to get bends, of all as many as there may be."""
    bends = 0
    for length, number in sorted(Counter(lengths).items()):
        bends += number * max(0, length - 1)
        if bends > _MOST_BENDS:
            return max(1, length - 1)
    return max(lengths, default=1)


def _segments(ways: list[list[Member]], rank: Mapping[str, int]) -> Iterator[tuple[tuple[Member, Member], bool]]:
    for way in ways:
        rising = rank[way[0]] < rank[way[-1]]  # type: ignore[index]
        for pair in pairwise(way):
            yield pair, rising


def _ranks(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way from a source to each node; sources move up to the first node that follows them."""
    position = {node: i for i, node in enumerate(_topological(nodes, edges))}
    rank = dict.fromkeys(nodes, 0)
    followers, led = defaultdict(list), set()
    for source, target in edges:
        if position[source] < position[target]:
            followers[source].append(target)
            led.add(target)
    for node in position:
        for follower in followers[node]:
            rank[follower] = max(rank[follower], rank[node] + 1)
    for node in nodes:
        if node not in led and followers[node]:
            rank[node] = min(rank[follower] for follower in followers[node]) - 1
    lowest = min(rank.values(), default=0)
    used = {r: i for i, r in enumerate(sorted({r - lowest for r in rank.values()}))}
    return {node: used[r - lowest] for node, r in rank.items()}


def _topological(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """The nodes, each before those it has edges to but for edges that close a circle."""
    followers = defaultdict(list)
    for source, target in edges:
        followers[source].append(target)
    done: list[str] = []
    seen: set[str] = set()
    for start in nodes:
        waiting = [(start, iter(followers[start]))] if start not in seen else []
        seen.add(start)
        while waiting:
            node, following = waiting[-1]
            follower = next((each for each in following if each not in seen), None)
            if follower is None:
                done.append(node)
                waiting.pop()
            else:
                seen.add(follower)
                waiting.append((follower, iter(followers[follower])))
    return done[::-1]


def _ordered(ranks: list[list[Member]], links: Sequence[tuple[Member, Member]]) -> list[list[Member]]:
    """The ranks in the order of their neighbours' mean positions, swept to and fro; the one of fewest crossings."""
    above, below = defaultdict(list), defaultdict(list)
    for upper, lower in links:
        below[upper].append(lower)
        above[lower].append(upper)
    best, fewest = ranks, _crossings(ranks, below)
    for sweep in range(_sweeps(ranks, _SWEEPS)):
        if not fewest:
            break
        ranks = [list(rank) for rank in ranks]
        neighbours, order = (above, ranks) if sweep % 2 == 0 else (below, ranks[::-1])
        for fixed, moved in pairwise(order):
            at = {node: i for i, node in enumerate(fixed)}
            means = {}
            for i, node in enumerate(moved):
                near = [at[each] for each in neighbours[node]]
                means[node] = sum(near) / len(near) if near else i
            moved.sort(key=means.__getitem__)
        crossings = _crossings(ranks, below)
        if crossings < fewest:
            best, fewest = ranks, crossings
    return best


def _sweeps(ranks: Sequence[Sequence[Member]], most: int) -> int:
    return min(most, max(2, _VISITS // max(1, sum(map(len, ranks)))))


def _crossings(ranks: list[list[Member]], below: Mapping[Member, list[Member]]) -> int:
    total = 0
    for upper, lower in pairwise(ranks):
        at = {node: i for i, node in enumerate(lower)}
        passed: list[int] = []
        for node in upper:
            ends = sorted(at[each] for each in below.get(node, ()))
            total += sum(len(passed) - bisect_right(passed, end) for end in ends)
            for end in ends:
                insort(passed, end)
    return total


def _placed(
    ranks: list[list[Member]],
    links: Sequence[tuple[Member, Member]],
    sizes: Mapping[str, float],
    gap: float,
) -> dict[Member, float]:
    """Places that keep every order and gap, each as near to the mean of its neighbours' as these allow."""
    pulls: dict[Member, list[tuple[Member, float]]] = defaultdict(list)
    degree = Counter(node for link in links for node in link)
    for upper, lower in links:
        weight = _LOOSE if 1 in (degree[upper], degree[lower]) else 1.0
        weight = weight if isinstance(upper, str) or isinstance(lower, str) else _STRAIGHT
        pulls[upper].append((lower, weight))
        pulls[lower].append((upper, weight))
    places: dict[Member, float] = {}
    for rank in ranks:
        apart = _apart(rank, sizes, gap)
        places.update(zip(rank, (at - apart[-1] / 2 for at in apart), strict=True))
    for sweep in range(_sweeps(ranks, 2 * _SWEEPS)):
        for rank in ranks if sweep % 2 == 0 else ranks[::-1]:
            wanted, weights = [], []
            for node in rank:
                weight = sum(w for _, w in pulls[node])
                wanted.append(sum(places[n] * w for n, w in pulls[node]) / weight if weight else places[node])
                weights.append(weight or 0.1)
            apart = _apart(rank, sizes, gap)
            free = _rising([want - at for want, at in zip(wanted, apart, strict=True)], weights)
            places.update(zip(rank, (x + at for x, at in zip(free, apart, strict=True)), strict=True))
    return places


def _apart(rank: Sequence[Member], sizes: Mapping[str, float], gap: float) -> list[float]:
    """The places of a rank's members when they stand as close as they may, from the first at 0."""
    half = [sizes[node] / 2 if isinstance(node, str) else 0.0 for node in rank]
    places = [0.0]
    for left, right in pairwise(half):
        places.append(places[-1] + left + gap + right)
    return places


def _rising(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The sequence that never falls and is nearest to `values` by weighted squares: pool adjacent violators."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = value, weight, 1
        while pools and pools[-1][0] > mean:
            before, heavy, many = pools.pop()
            mean = (mean * total + before * heavy) / (total + heavy)
            total, count = total + heavy, count + many
        pools.append((mean, total, count))
    return [mean for mean, _, count in pools for _ in range(count)]
