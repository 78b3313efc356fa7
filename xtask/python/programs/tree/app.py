import wit_world


def walk(depth, kept):
    kept.append(bytes(40))
    if depth > 0:
        walk(depth - 1, kept)
        walk(depth - 1, kept)


class WitWorld(wit_world.WitWorld):
    def grow(self, depth):
        kept = []
        walk(depth, kept)
        return len(kept)
