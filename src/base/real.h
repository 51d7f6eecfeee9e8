/* The number type of the engine: float in the product; double where the same source is compiled a second time so that
 * gradient checks are tight (architecture idea after FFTW's compile-time precision). */
#ifndef BASE_REAL_H
#define BASE_REAL_H

#ifdef DT_REAL_DOUBLE
typedef double real;
#else
typedef float real;
#endif

#endif
