"""Problems in closed form: quadratics, least squares, penalties, factorisations, tables."""
