"""System 003 with half the filters: how much the gap in its description matters. Its claims stand in smote_224."""

from cxr_utils.recipes import smote_224


def layers(width: float = 1.0) -> list:
    """Return the layers of `smote_224` with 16, 32 and 64 filters: 6,494,577 parameters at 224x224x1."""
    return smote_224.layers(width, filters=(16, 32, 64))


RECIPE = smote_224.RECIPE.but(
    name="smote_224_slim",
    title="smote_224 with 16, 32 and 64 filters",
    layers=layers,
    reasons={**smote_224.RECIPE.reasons, "layers": "filters are not in the README: half of those of smote_224"},
)
